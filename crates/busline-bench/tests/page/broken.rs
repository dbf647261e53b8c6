//! A page that is broken on purpose is found: what the other tests look for, they would see.

use std::fs;
use std::path::Path;

use super::browser::Browser;
use super::probe;

/// A page with one plot that is whole.
const WHOLE: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>T</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body { overflow-wrap: anywhere; } figure { margin: 0; } .plot { width: 100%; font: 12px sans-serif; }</style>
</head><body>
<figure><figcaption><strong>A</strong> <span class="key">nats</span></figcaption>
<svg class="plot" viewBox="0 0 400 280"><path class="grid" d="M48 236H386"/><path class="grid" d="M48 30H386"/>
<text class="unit" x="4" y="14">ms</text><text class="unit" x="200" y="270">level</text>
<text x="10" y="236">0</text><rect class="mark s0" x="100" y="50" width="40" height="100"/></svg>
<p class="setting">2 × A Processor, Linux</p></figure></body></html>
"#;

/// A part of it, what stands in its place, and what is then found.
const BROKEN: [(&str, &str, &str); 11] = [
    (r#"width="40" height="100"/>"#, r#"width="0" height="0"/>"#, "A: nothing is drawn"),
    ("<figure>", "<figure hidden>", "A: it is 0 by 0 px"),
    (r#"x="100" y="50""#, r#"x="390" y="50""#, "A: 1 marks lie outside"),
    (r#"class="unit" x="4""#, r#"x="4""#, "A: 2 ticks, 1 units"),
    (r#"<text x="10" y="236">0"#, r#"<text x="10" y="14">0"#, "A: on top of each other: [\"ms / 0\"]"),
    (r#"<text x="10" y="236">0"#, r#"<text x="380" y="236">100 k"#, "A: cut off: [\"100 k\"]"),
    ("font: 12px", "font: 7px", "A: its smallest text is"),
    ("nats</span>", "</span>", "A: no legend"),
    ("2 × A Processor", "", "A: settings: "),
    ("<strong>A</strong>", "<strong>B</strong>", "the plots are [\"B\"]"),
    ("</body>", r#"<p style="width: 600px">wide</p></body>"#, "at 390 px: it is "),
];

/// What is said on the console of a page with this at its end.
fn console(browser: Browser, folder: &Path, policy: &str, end: &str) -> String {
    let file = folder.join("page.html");
    let page = WHOLE.replace("default-src 'none'", policy).replace("</body>", &format!("{end}</body>"));
    fs::write(&file, page).expect("written");
    browser.open(&file).console.concat()
}

#[test]
fn each_way_to_break_a_page_is_found() {
    let Some(browser) = Browser::find("each_way_to_break_a_page_is_found") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut pages = vec![WHOLE.to_string()];
    for (part, instead, _) in BROKEN {
        assert!(WHOLE.contains(part), "{part}");
        pages.push(WHOLE.replacen(part, instead, 1));
    }
    let seen = probe::in_frames(browser, &folder.path().join("host.html"), &pages, &["A"]);
    assert!(
        seen.console.is_empty() && seen.faults[0].is_empty(),
        "the whole one: {:?} {:?}",
        seen.console,
        seen.faults[0]
    );
    for ((_, instead, wanted), faults) in BROKEN.iter().zip(&seen.faults[1..]) {
        assert!(faults.iter().any(|fault| fault.contains(wanted)), "{instead}: wanted {wanted} in {faults:?}");
    }
    let of = |policy: &str, end: &str| console(browser, folder.path(), policy, end);
    let talks = of("script-src 'unsafe-inline'", "<script>console.error('a word')</script>");
    assert!(talks.contains("a word"), "{talks}");
    let loads = of("default-src 'none'", r#"<img src="https://localhost:9/a.png" alt="">"#);
    assert!(loads.contains("Content Security Policy"), "a policy that lets nothing in says so: {loads}");
}

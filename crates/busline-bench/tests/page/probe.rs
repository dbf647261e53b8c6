//! What a browser finds in a page on a phone and on a desk, and what of it is wrong.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::browser::Browser;

/// Widths that a page is opened at: a phone, and a screen. Unit: pixels of the page.
const WIDTHS: [u32; 2] = [390, 1_280];

/// Lowest text in a plot that can be read. Unit: pixels of the page, from the top of a line to its bottom.
const TEXT_MIN: f64 = 11.0;

/// A page at one width.
#[derive(Debug, Deserialize)]
struct Screen {
    width: u32,
    scroll_width: u32,
    inner_scrolls: Vec<String>,
    resources: u32,
    figures: Vec<Figure>,
}

/// A plot as it was drawn.
#[derive(Debug, Deserialize)]
struct Figure {
    title: String,
    width: f64,
    height: f64,
    /// Bars, lines and dots that take room.
    marks: u32,
    ticks: u32,
    units: u32,
    keys: u32,
    setting: String,
    smallest_text: f64,
    /// Texts that are cut off by the picture's edge.
    outside: Vec<String>,
    marks_outside: u32,
    overlapping: Vec<String>,
}

/// Everything that is wrong with a page that is to have these plots; nothing of a whole one.
pub(crate) fn faults(browser: Browser, page: &Path, plots: &[&str]) -> Vec<String> {
    let mut faults = browser.open(page).console;
    let text = fs::read_to_string(page).expect("written");
    let seen = in_frames(browser, &page.with_extension("host.html"), &[text], plots);
    faults.extend(seen.console);
    faults.extend(seen.faults.concat());
    faults
}

/// What was found in several pages at once.
pub(crate) struct Seen {
    /// What was said on the console, by whichever.
    pub(crate) console: Vec<String>,
    /// What is wrong with each.
    pub(crate) faults: Vec<Vec<String>>,
}

/// Opens these pages, as they are, in frames of each width, from a host that looks at them: a browser's own window cannot
/// be as narrow as a phone.
pub(crate) fn in_frames(browser: Browser, host: &Path, pages: &[String], plots: &[&str]) -> Seen {
    fs::write(host, hosting(pages)).expect("written");
    let opened = browser.open(host);
    let screens = screens(&opened.document);
    assert_eq!(screens.len(), pages.len() * WIDTHS.len());
    let of_page = |screens: &[Screen]| screens.iter().flat_map(|screen| screen.all_faults(plots)).collect();
    Seen { console: opened.console, faults: screens.chunks(WIDTHS.len()).map(of_page).collect() }
}

fn hosting(pages: &[String]) -> String {
    let frames = |page: &String| {
        let inner = page.replace('&', "&amp;").replace('"', "&quot;");
        WIDTHS.map(|width| format!(r#"<iframe width="{width}" height="844" srcdoc="{inner}"></iframe>"#)).concat()
    };
    let frames: String = pages.iter().map(frames).collect();
    let style = "iframe { border: 0; }";
    let probe = include_str!("probe.js");
    format!("<!doctype html><style>{style}</style>{frames}<pre id=\"found\"></pre><script>{probe}</script>")
}

fn screens(document: &str) -> Vec<Screen> {
    let found = document.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    serde_json::from_str(found.expect("the probe's place").0).expect("the probe's findings")
}

impl Screen {
    /// What is wrong with the page and with each of its plots.
    fn all_faults(&self, plots: &[&str]) -> Vec<String> {
        assert!(WIDTHS.contains(&self.width), "a frame has the width it was given: {}", self.width);
        let all = [self.faults(plots), self.figures.iter().flat_map(Figure::faults).collect()].concat();
        all.into_iter().map(|fault| format!("at {} px: {fault}", self.width)).collect()
    }

    fn faults(&self, plots: &[&str]) -> Vec<String> {
        let titles: Vec<&str> = self.figures.iter().map(|figure| figure.title.as_str()).collect();
        let mut faults = Vec::new();
        let mut check = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        check(titles == plots, format!("the plots are {titles:?}, wanted {plots:?}"));
        check(self.scroll_width <= self.width, format!("it is {} px wide and scrolls sideways", self.scroll_width));
        check(self.inner_scrolls.is_empty(), format!("parts scroll sideways: {:?}", self.inner_scrolls));
        check(self.resources == 0, format!("{} resources were loaded", self.resources));
        faults
    }
}

impl Figure {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |holds: bool, fault: String| {
            if !holds {
                faults.push(format!("{}: {fault}", self.title));
            }
        };
        check(self.marks > 0, "nothing is drawn".into());
        check(self.width >= 250.0 && self.height >= 150.0, format!("it is {} by {} px", self.width, self.height));
        check(self.marks_outside == 0, format!("{} marks lie outside", self.marks_outside));
        check(self.ticks >= 2 && self.units == 2, format!("{} ticks, {} units", self.ticks, self.units));
        check(self.keys > 0, "no legend".into());
        check(self.setting.contains(" × ") && self.setting.contains("Linux"), format!("settings: {}", self.setting));
        check(self.smallest_text >= TEXT_MIN, format!("its smallest text is {} px high", self.smallest_text));
        check(self.outside.is_empty(), format!("cut off: {:?}", self.outside));
        check(self.overlapping.is_empty(), format!("on top of each other: {:?}", self.overlapping));
        faults
    }
}

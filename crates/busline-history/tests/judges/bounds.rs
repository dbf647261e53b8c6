use busline_history::{Sample, Sampled};

use crate::story::{Story, story};

fn sampled(story: Story, gauge: &str, value: u64) -> Story {
    story.op(Sample::Ok(Sampled { gauge: gauge.to_owned(), value }))
}

fn bounded() -> Story {
    story().plan(|plan| {
        plan.gauge_bounds.insert("window_bytes".to_owned(), 100);
        plan.attempts_max = Some(2);
    })
}

#[test]
fn a24_a_gauge_passed_its_bound_and_came_back() {
    let story = sampled(sampled(sampled(bounded(), "window_bytes", 99), "window_bytes", 101), "window_bytes", 7);
    let said = story.shows(&["A24"]);
    assert!(said.contains("window_bytes was 101 at 0.020 s; its bound is 100"), "{said}");
}

#[test]
fn a24_one_attempt_too_many() {
    let story = bounded().publish("a", "k", 0).deliver("a").start("a").err("a");
    let story = story.attempt(2).deliver("a").start("a").err("a");
    story.attempt(3).handle("a").shows(&["A24"]);
}

#[test]
fn a24_looks_alike_full_to_the_brim_and_a_gauge_without_a_bound() {
    sampled(sampled(bounded(), "window_bytes", 100), "lag", 1_000_000).is_clean();
}

#[test]
fn a24_looks_alike_attempts_restart_after_a_crash() {
    let story = bounded().publish("a", "k", 0).assign(1).deliver("a").start("a").err("a").killed();
    let story = story.process(2).member("n").assign(2).deliver("a").start("a").err("a");
    story.attempt(2).handle("a").is_clean();
}

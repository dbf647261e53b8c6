//! What buses were run with, in a few words.

/// Each setting once, behind the buses that have it.
pub(super) fn by_bus<'b>(settings: impl Iterator<Item = (&'b str, String)>) -> String {
    let mut known: Vec<(Vec<&str>, String)> = Vec::new();
    for (bus, setting) in settings {
        match known.iter_mut().find(|(_, told)| *told == setting) {
            Some((buses, _)) if buses.contains(&bus) => {}
            Some((buses, _)) => buses.push(bus),
            None => known.push((vec![bus], setting)),
        }
    }
    let told = known.iter().map(|(buses, setting)| format!("{}: {setting}", buses.join(", ")));
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_stands_once_behind_all_that_have_it() {
        let runs = [("sqlite", "synced"), ("nats", "written"), ("sqlite", "synced"), ("kafka", "written")];
        let told = by_bus(runs.into_iter().map(|(bus, setting)| (bus, setting.to_string())));
        assert_eq!(told, "sqlite: synced; nats, kafka: written");
    }
}

use busline_history::{Anomaly, JUDGES};

#[test]
fn every_anomaly_has_its_judge_in_the_order_of_the_list() {
    let judged: Vec<Anomaly> = JUDGES.iter().map(|(anomaly, _)| *anomaly).collect();
    assert_eq!(judged, Anomaly::ALL);
}

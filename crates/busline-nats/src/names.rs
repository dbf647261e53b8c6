//! Names on the server: streams and subjects of a topic, without collisions.
//!
//! A topic's name may hold dots, a stream's may not. `=` stands for the dot: no topic name holds one.

use busline_core::{GroupName, Partition, TopicInfo, TopicName};

/// The stream with this number of a topic that is spread over `streams`.
pub(crate) fn stream(topic: &TopicName, streams: u32, number: u32) -> String {
    let base = topic.as_str().replace('.', "=");
    if streams == 1 { base } else { format!("{base}=={number}") }
}

/// The stream that carries a partition.
pub(crate) fn stream_of(topic: &TopicInfo, partition: Partition) -> String {
    stream(&topic.name, topic.spec.streams, partition.0 % topic.spec.streams)
}

/// The subject of a partition.
///
/// The bus's own topics have an empty token in their names, which a subject may not have: `=` stands there.
pub(crate) fn subject(topic: &TopicName, partition: Partition) -> String {
    if topic.is_own() {
        return format!("{}.{partition}", topic.as_str().replace("..", ".=."));
    }
    format!("{topic}.{partition}")
}

/// The subjects that the stream with this number carries.
pub(crate) fn subjects(topic: &TopicName, partitions: u32, streams: u32, number: u32) -> Vec<String> {
    (number..partitions).step_by(streams as usize).map(|partition| subject(topic, Partition(partition))).collect()
}

/// The durable consumer that shows a group's place in a partition.
pub(crate) fn shadow(group: &GroupName, partition: Partition) -> String {
    format!("{}=={partition}", group.as_str().replace('.', "="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).expect("legal")
    }

    #[test]
    fn names_that_differ_have_streams_that_differ() {
        assert_eq!(stream(&name("a.b"), 1, 0), "a=b");
        assert_eq!(stream(&name("a_b"), 1, 0), "a_b");
        assert_eq!(stream(&name("a.b"), 3, 2), "a=b==2");
    }

    #[test]
    fn names_of_the_bus_itself_have_legal_subjects() {
        let own = TopicName::stored("__parked.a.b..g.h").expect("the bus's own");
        assert_eq!(subject(&own, Partition(3)), "__parked.a.b.=.g.h.3");
        assert_eq!(stream(&own, 1, 0), "__parked=a=b==g=h");
    }

    #[test]
    fn each_partition_is_in_one_stream() {
        assert_eq!(subjects(&name("t"), 5, 2, 0), ["t.0", "t.2", "t.4"]);
        assert_eq!(subjects(&name("t"), 5, 2, 1), ["t.1", "t.3"]);
        assert_eq!(subjects(&name("t"), 2, 1, 0), ["t.0", "t.1"]);
    }
}

//! Keys of the groups' bucket. They hold letters, digits and `-_=.` only, so a dot of a name becomes `=`.

use busline_core::{GroupName, Partition, TopicName};

/// The bucket of all groups.
pub(crate) const BUCKET: &str = "busline_groups";

/// One group on one topic, and the keys that it has.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// `<topic>.<group>`, encoded.
    place: String,
}

/// What a key of a group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// This member lives.
    Member(String),
    /// Who holds this partition.
    Lease(Partition),
    /// How far the group has come in this partition.
    Offset(Partition),
}

impl Keys {
    pub(crate) fn new(group: &GroupName, topic: &TopicName) -> Self {
        Self { place: format!("{}.{}", token(topic.as_str()), token(group.as_str())) }
    }

    pub(crate) fn lease(&self, partition: Partition) -> String {
        format!("lease.{}.{partition}", self.place)
    }

    pub(crate) fn offset(&self, partition: Partition) -> String {
        format!("offset.{}.{partition}", self.place)
    }

    pub(crate) fn member(&self, name: &str) -> String {
        format!("member.{}.{}", self.place, member_token(name))
    }

    /// All member keys.
    pub(crate) fn members(&self) -> String {
        format!("member.{}.*", self.place)
    }

    /// All lease keys.
    pub(crate) fn leases(&self) -> String {
        format!("lease.{}.*", self.place)
    }

    /// All keys of one group on one topic, whatever they say.
    pub(crate) fn all(&self) -> String {
        format!("*.{}.*", self.place)
    }

    /// The subject on which members of the group tell each other of a change. No stream takes it: a lost bell costs time
    /// only.
    pub(crate) fn bell(&self) -> String {
        format!("$BUSLINE.bell.{}", self.place)
    }

    /// All keys that groups have on one topic.
    pub(crate) fn of_topic(topic: &TopicName) -> String {
        format!("*.{}.*.*", token(topic.as_str()))
    }
}

/// What a key says, and of which group; `None` for keys of others.
pub(crate) fn parse(key: &str) -> Option<(Key, GroupName, TopicName)> {
    let mut tokens = key.split('.');
    let (what, topic, group, last) = (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?);
    let partition = || last.parse().ok().map(Partition);
    let key = match what {
        "member" => Key::Member(member_name(last)?),
        "lease" => Key::Lease(partition()?),
        "offset" => Key::Offset(partition()?),
        _ => return None,
    };
    let names = (GroupName::stored(&name(group)).ok()?, TopicName::stored(&name(topic)).ok()?);
    tokens.next().is_none().then_some((key, names.0, names.1))
}

fn token(name: &str) -> String {
    name.replace('.', "=")
}

fn name(token: &str) -> String {
    token.replace('=', ".")
}

/// A member's name may hold anything; what a key cannot hold becomes `=` and two hexadecimal digits.
fn member_token(name: &str) -> String {
    let mut token = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02x}"));
        }
    }
    token
}

fn member_name(token: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = token;
    while let Some((plain, behind)) = rest.split_once('=') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(behind.get(..2)?, 16).ok()?);
        rest = &behind[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(group: &str, topic: &str) -> Keys {
        Keys::new(&group.parse().expect("legal"), &topic.parse().expect("legal"))
    }

    #[test]
    fn what_a_key_says_can_be_read_from_it() {
        let keys = keys("a.b", "c.d_e");
        let names: (GroupName, TopicName) = ("a.b".parse().expect("legal"), "c.d_e".parse().expect("legal"));
        for (key, says) in [
            (keys.lease(Partition(3)), Key::Lease(Partition(3))),
            (keys.offset(Partition(12)), Key::Offset(Partition(12))),
            (keys.member("host.x-7 =ä"), Key::Member("host.x-7 =ä".into())),
        ] {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte);
            assert!(key.bytes().all(legal), "{key}");
            assert_eq!(parse(&key), Some((says, names.0.clone(), names.1.clone())), "{key}");
        }
    }

    #[test]
    fn groups_that_differ_have_keys_that_differ() {
        let lease = |group, topic| keys(group, topic).lease(Partition(0));
        assert_ne!(lease("a.b", "c"), lease("b", "c.a"));
        assert_ne!(lease("a.b", "c"), lease("a_b", "c"));
    }

    #[test]
    fn keys_of_others_say_nothing() {
        for key in ["x.a.b.0", "lease.a.b", "lease.a.b.x", "lease.a.b.0.1", "member.a.b.=zz", "member.a.b.="] {
            assert_eq!(parse(key), None, "{key}");
        }
    }
}

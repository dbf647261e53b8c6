//! From the client's codes to the bus's errors.

use busline_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The error of a call that the client refused. Definite or not is for whoever knows what was sent.
pub(crate) fn of(error: &KafkaError) -> Error {
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    match code {
        Some(code) => of_code(code),
        None => Error::new(ErrorKind::Internal, "Client").cause(error.to_string()).next("report this"),
    }
}

/// The error that a code stands for.
///
/// # Source
/// The Kafka protocol's table of error codes; librdkafka's own codes are negative.
pub(crate) fn of_code(code: RDKafkaErrorCode) -> Error {
    let (kind, reason, next) = meaning(code);
    Error::new(kind, reason).cause(code.to_string()).next(next)
}

fn meaning(code: RDKafkaErrorCode) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{AlreadyExists, Denied, Fenced, Internal, Invalid, NotFound, TooLarge, Unavailable, Unsupported};
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            (NotFound, "Topic", "create the topic, or correct its name")
        }
        Code::TopicAlreadyExists => (AlreadyExists, "Topic", "use it, or choose another name"),
        Code::GroupIdNotFound | Code::UnknownGroup => (NotFound, "Group", "see the groups with 'busline group list'"),
        Code::InvalidReplicationFactor => {
            (Unsupported, "Replicas", "use as many replicas as there are brokers, or fewer")
        }
        Code::PolicyViolation => (Denied, "Policy", "ask who runs the brokers for their policy"),
        Code::TopicAuthorizationFailed => (Denied, "Topic", "grant this user access to the topic"),
        Code::GroupAuthorizationFailed => (Denied, "Group", "grant this user access to the group"),
        Code::ClusterAuthorizationFailed => (Denied, "Cluster", "grant this user access to the cluster"),
        Code::SaslAuthenticationFailed | Code::Authentication | Code::UnsupportedSASLMechanism | Code::SSL => {
            (Denied, "Authentication", "check user, password, mechanism and certificates")
        }
        Code::TopicDeletionDisabled => (Denied, "Deletion", "allow deletion at the brokers"),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            (TooLarge, "Record", "make the record smaller, or raise the topic's max.message.bytes")
        }
        Code::InvalidRecord | Code::InvalidDifferentRecord => (Invalid, "Record", "see the topic's settings"),
        Code::InvalidConfig => (Invalid, "TopicSetting", "see the brokers' limits for topic settings"),
        Code::InvalidPartitions => (Invalid, "PartitionCount", "use fewer partitions"),
        Code::NonEmptyGroup | Code::GroupSubscribedToTopic => (Unavailable, "GroupActive", "stop its members first"),
        Code::UnknownMemberId | Code::AssignmentLost | Code::FencedInstanceId | Code::FencedMemberEpoch => {
            (Fenced, "NotOwner", "stop working on it: its events come again elsewhere")
        }
        Code::IllegalGeneration | Code::RebalanceInProgress | Code::StaleMemberEpoch => {
            (Unavailable, "OlderEpoch", "commit again once the group has settled")
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
            (Unsupported, "BrokerVersion", "use brokers of version 3.0 or later")
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => {
            (Unavailable, "NotEnoughReplicas", "bring the other brokers back")
        }
        Code::KafkaStorageError | Code::LogDirNotFound => (Unavailable, "Storage", "see the broker's log and its disk"),
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::NetworkException => {
            (Unavailable, "Connection", "check the brokers' addresses and that they run")
        }
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut | Code::TimedOutQueue => {
            (Unavailable, "NoAnswer", "check that the brokers run and are not overloaded")
        }
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::NotController => (Unavailable, "Leader", "wait until the brokers have chosen a leader"),
        Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable | Code::NotCoordinator => {
            (Unavailable, "Coordinator", "wait until the brokers have chosen a coordinator")
        }
        Code::WaitingForCoordinator => (Unavailable, "Coordinator", "wait until the brokers have chosen a coordinator"),
        Code::ThrottlingQuotaExceeded => (Unavailable, "Quota", "wait, or raise the quota"),
        Code::AutoOffsetReset | Code::OffsetOutOfRange => {
            (Unavailable, "Offset", "read again: what was stored there was deleted meanwhile")
        }
        Code::PurgeQueue | Code::PurgeInflight => (Unavailable, "Purged", "publish it again"),
        _ => (Internal, "Broker", "report this with the broker's log"),
    }
}

/// Whether nobody answered in time.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    error.reason() == "NoAnswer"
}

/// Whether the same request may succeed a moment later.
pub(crate) fn is_transient(error: &Error) -> bool {
    matches!(error.reason(), "Leader" | "Coordinator" | "OlderEpoch" | "NoAnswer" | "Connection" | "Quota")
}

/// Whether nothing is stored any more at an offset that was in range a moment ago.
pub(crate) fn is_out_of_range(error: &Error) -> bool {
    error.code() == "Unavailable/Offset"
}

/// Whether brokers may know better than what the client remembers of topics and their leaders.
pub(crate) fn may_be_outdated(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.reason() == "Leader"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_says_what_the_caller_can_do() {
        use RDKafkaErrorCode as Code;
        for (code, expected) in [
            (Code::UnknownTopicOrPartition, "NotFound/Topic"),
            (Code::TopicAlreadyExists, "AlreadyExists/Topic"),
            (Code::InvalidReplicationFactor, "Unsupported/Replicas"),
            (Code::TopicAuthorizationFailed, "Denied/Topic"),
            (Code::SaslAuthenticationFailed, "Denied/Authentication"),
            (Code::MessageSizeTooLarge, "TooLarge/Record"),
            (Code::NonEmptyGroup, "Unavailable/GroupActive"),
            (Code::UnknownMemberId, "Fenced/NotOwner"),
            (Code::StaleMemberEpoch, "Unavailable/OlderEpoch"),
            (Code::UnsupportedFeature, "Unsupported/BrokerVersion"),
            (Code::NotEnoughReplicas, "Unavailable/NotEnoughReplicas"),
            (Code::KafkaStorageError, "Unavailable/Storage"),
            (Code::AllBrokersDown, "Unavailable/Connection"),
            (Code::OperationTimedOut, "Unavailable/NoAnswer"),
            (Code::LeaderNotAvailable, "Unavailable/Leader"),
            (Code::NotCoordinator, "Unavailable/Coordinator"),
            (Code::AutoOffsetReset, "Unavailable/Offset"),
            (Code::Unknown, "Internal/Broker"),
        ] {
            assert_eq!(of_code(code).code(), expected);
            assert_eq!(of(&KafkaError::AdminOp(code)).code(), expected);
            assert!(!of_code(code).to_string().is_empty());
        }
    }
}

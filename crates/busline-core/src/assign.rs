//! Which member of a group is to hold which partition.

use std::collections::BTreeMap;

/// Gives each partition a member: equal shares, and as few moves as possible.
///
/// `members` are the live ones; `owners[p]` is who holds partition `p` at the moment, dead or alive, if anybody. Answer
/// `p` is who is to hold partition `p`; `None` only if there is no member. No member gets more than one partition more
/// than another. Pure: members that see the same answer the same, and where views differ for a moment the lease decides.
pub fn assign<'a>(members: &[&'a str], owners: &[Option<&'a str>]) -> Vec<Option<&'a str>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let mut shares: BTreeMap<&str, usize> = members.iter().map(|member| (*member, 0)).collect();
    let (least, mut larger) = (owners.len() / shares.len(), owners.len() % shares.len());
    let mut wanted = vec![None; owners.len()];
    // Whoever holds partitions keeps them up to its share.
    for (place, owner) in owners.iter().enumerate() {
        let Some(share) = owner.and_then(|owner| shares.get_mut(owner)) else { continue };
        if *share < least || (*share == least && larger > 0) {
            larger -= usize::from(*share == least);
            *share += 1;
            wanted[place] = *owner;
        }
    }
    // The rest goes to whoever has least, by name where that is the same.
    for place in wanted.iter_mut().filter(|place| place.is_none()) {
        if let Some((member, share)) = shares.iter_mut().min_by_key(|(_, share)| **share) {
            *share += 1;
            *place = members.iter().find(|known| *known == member).copied();
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_joining_member_takes_only_its_share() {
        let owners = [Some("a"), Some("a"), Some("a"), Some("a")];
        let wanted = assign(&["a", "b"], &owners);
        assert_eq!(wanted, [Some("a"), Some("a"), Some("b"), Some("b")]);
        assert_eq!(assign(&["a", "b"], &wanted), wanted);
    }

    #[test]
    fn a_dead_members_partitions_go_to_the_others() {
        let wanted = assign(&["a", "c"], &[Some("a"), Some("b"), Some("b"), Some("c")]);
        assert_eq!(wanted, [Some("a"), Some("a"), Some("c"), Some("c")]);
        assert_eq!(assign(&[], &[Some("a")]), [None]);
    }

    proptest! {
        #[test]
        fn shares_are_equal_and_stable(
            members in proptest::collection::btree_set("[a-f]", 1..6),
            owners in proptest::collection::vec(proptest::option::of("[a-h]"), 0..40),
        ) {
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            let owners: Vec<Option<&str>> = owners.iter().map(Option::as_deref).collect();
            let wanted = assign(&members, &owners);
            let share = |member: &str| wanted.iter().filter(|owner| **owner == Some(member)).count();
            let shares: Vec<usize> = members.iter().map(|member| share(member)).collect();
            prop_assert!(wanted.iter().all(Option::is_some));
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            prop_assert_eq!(assign(&members, &wanted), wanted.clone());
            // Nobody loses a partition while holding no more than its share.
            for member in &members {
                let held = owners.iter().filter(|owner| **owner == Some(*member)).count();
                let kept = owners.iter().zip(&wanted).filter(|(was, is)| was == is && **is == Some(*member)).count();
                prop_assert_eq!(kept, held.min(share(member)));
            }
        }
    }
}

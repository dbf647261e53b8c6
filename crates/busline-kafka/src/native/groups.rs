//! Groups of both protocols: their names, members, committed offsets and end.
//!
//! All but the names are asked of a group's coordinator, so `Coordinators` must do the asking. Its client is a consumer
//! that has a group: when a broker answers that it is not the coordinator, the library looks for the coordinator of the
//! *client's* group, and dies where there is none (librdkafka issue 5040).

#![expect(unsafe_code, reason = "the wrapper knows classic groups only; every pointer is read while its answer lives")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Error, Result};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;

use super::ask::{Ask, Native, check};

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupMember {
    /// The client id that it gave itself.
    pub(crate) client_id: String,
    /// Its partitions, each with its topic.
    pub(crate) partitions: Vec<(String, i32)>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// The names of all groups.
pub(crate) fn group_names(client: &Arc<dyn Native>, limit: Duration) -> Result<Vec<String>> {
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    let ask = Ask::send(client, operation, limit, |client, options, queue| {
        // SAFETY: all three live for this call.
        unsafe { c::rd_kafka_ListConsumerGroups(client, options, queue) }
    })?;
    let answer = ask.wait(limit)?;
    // SAFETY: what is read belongs to the answer and is copied.
    unsafe {
        let result = c::rd_kafka_event_ListConsumerGroups_result(answer.event());
        let mut count = 0;
        let groups = c::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
        let name = |place| text(c::rd_kafka_ConsumerGroupListing_group_id(*groups.add(place)));
        Ok((0..count).map(name).collect())
    }
}

/// The members of a group; none if there is no such group.
pub(crate) fn members(client: &Arc<dyn Native>, group: &str, limit: Duration) -> Result<Vec<GroupMember>> {
    let group = named(group)?;
    let mut names: [*const c_char; 1] = [group.as_ptr()];
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let ask = Ask::send_to_coordinator(client, operation, |client, options, queue| {
        // SAFETY: the request copies the names.
        unsafe { c::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, queue) }
    })?;
    let answer = ask.wait_of_coordinator(limit)?;
    // SAFETY: what is read belongs to the answer and is copied.
    unsafe {
        let result = c::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        let mut count = 0;
        let groups = c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(Vec::new());
        }
        let found = *groups;
        match check(c::rd_kafka_error_code(c::rd_kafka_ConsumerGroupDescription_error(found))) {
            Err(error) if error.code() == "NotFound/Group" => return Ok(Vec::new()),
            checked => checked?,
        }
        let count = c::rd_kafka_ConsumerGroupDescription_member_count(found);
        Ok((0..count).map(|place| member(c::rd_kafka_ConsumerGroupDescription_member(found, place))).collect())
    }
}

/// # Safety
/// The member belongs to an answer that lives.
unsafe fn member(member: *const c::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: by the condition of this function.
    unsafe {
        let assignment = c::rd_kafka_MemberDescription_assignment(member);
        let mut partitions = Vec::new();
        if !assignment.is_null() {
            let list = elements(c::rd_kafka_MemberAssignment_partitions(assignment));
            partitions.extend(list.iter().map(|partition| (text(partition.topic), partition.partition)));
        }
        GroupMember { client_id: text(c::rd_kafka_MemberDescription_client_id(member)), partitions }
    }
}

/// The committed offsets of a group in these partitions; partitions without one are left out.
pub(crate) fn offsets(
    client: &Arc<dyn Native>,
    group: &str,
    partitions: &TopicPartitionList,
    limit: Duration,
) -> Result<Vec<Committed>> {
    let group = named(group)?;
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    let ask = Ask::send_to_coordinator(client, operation, |client, options, queue| {
        // SAFETY: the request copies the group and the list.
        unsafe {
            let mut asked = c::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), partitions.ptr());
            c::rd_kafka_ListConsumerGroupOffsets(client, &raw mut asked, 1, options, queue);
            c::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
        }
    })?;
    let answer = ask.wait_of_coordinator(limit)?;
    // SAFETY: what is read belongs to the answer and is copied.
    unsafe {
        let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(answer.event());
        let mut count = 0;
        let groups = c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        let Some(partitions) = (count > 0).then(|| group_partitions(*groups)).transpose()? else {
            return Ok(Vec::new());
        };
        partitions.iter().filter(|partition| partition.offset >= 0).map(committed).collect()
    }
}

/// Stores committed offsets of a group that has no members.
pub(crate) fn alter_offsets(
    client: &Arc<dyn Native>,
    group: &str,
    offsets: &TopicPartitionList,
    limit: Duration,
) -> Result<()> {
    let group = named(group)?;
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
    let ask = Ask::send_to_coordinator(client, operation, |client, options, queue| {
        // SAFETY: the request copies the group and the list.
        unsafe {
            let mut wanted = c::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), offsets.ptr());
            c::rd_kafka_AlterConsumerGroupOffsets(client, &raw mut wanted, 1, options, queue);
            c::rd_kafka_AlterConsumerGroupOffsets_destroy(wanted);
        }
    })?;
    let answer = ask.wait_of_coordinator(limit)?;
    // SAFETY: what is read belongs to the answer.
    unsafe {
        let result = c::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.event());
        let mut count = 0;
        let groups = c::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
        if count > 0 {
            group_partitions(*groups)?.iter().try_for_each(|partition| check(partition.err))?;
        }
        Ok(())
    }
}

/// Deletes a group that has no members, with its committed offsets.
pub(crate) fn delete(client: &Arc<dyn Native>, group: &str, limit: Duration) -> Result<()> {
    let group = named(group)?;
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
    let ask = Ask::send_to_coordinator(client, operation, |client, options, queue| {
        // SAFETY: the request copies the group.
        unsafe {
            let mut wanted = c::rd_kafka_DeleteGroup_new(group.as_ptr());
            c::rd_kafka_DeleteGroups(client, &raw mut wanted, 1, options, queue);
            c::rd_kafka_DeleteGroup_destroy(wanted);
        }
    })?;
    let answer = ask.wait_of_coordinator(limit)?;
    // SAFETY: what is read belongs to the answer.
    unsafe {
        let result = c::rd_kafka_event_DeleteGroups_result(answer.event());
        let mut count = 0;
        let groups = c::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
        if count > 0 {
            group_partitions(*groups)?;
        }
        Ok(())
    }
}

/// # Safety
/// The group belongs to an answer that lives as long as what is given.
unsafe fn group_partitions<'a>(
    group: *const c::rd_kafka_group_result_t,
) -> Result<&'a [c::rd_kafka_topic_partition_t]> {
    // SAFETY: by the condition of this function.
    unsafe {
        let error = c::rd_kafka_group_result_error(group);
        if !error.is_null() {
            check(c::rd_kafka_error_code(error))?;
        }
        Ok(elements(c::rd_kafka_group_result_partitions(group)))
    }
}

/// # Safety
/// The list lives as long as what is given.
pub(super) unsafe fn elements<'a>(
    list: *const c::rd_kafka_topic_partition_list_t,
) -> &'a [c::rd_kafka_topic_partition_t] {
    // SAFETY: by the condition of this function; an empty list may have no elements at all.
    unsafe {
        if list.is_null() || (*list).cnt <= 0 {
            return &[];
        }
        slice::from_raw_parts((*list).elems, (*list).cnt as usize)
    }
}

fn committed(partition: &c::rd_kafka_topic_partition_t) -> Result<Committed> {
    check(partition.err)?;
    Ok(Committed {
        partition: partition.partition,
        offset: partition.offset,
        metadata: bytes(partition.metadata, partition.metadata_size),
    })
}

fn bytes(pointer: *const c_void, size: usize) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the library gives the size with the pointer, and both live with the answer.
    let bytes = unsafe { slice::from_raw_parts(pointer.cast::<u8>(), size) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// # Safety
/// The text is null or ends with NUL, and lives for this call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by the condition of this function.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn named(group: &str) -> Result<CString> {
    CString::new(group).map_err(|_| Error::invalid("NameCharacter").cause("NUL in a group's name"))
}

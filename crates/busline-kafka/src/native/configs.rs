//! What topics and brokers are set to. The wrapper's own question takes a refusal for an answer without settings.

#![expect(
    unsafe_code,
    reason = "the wrapper drops the error of each resource; pointers are read while the answer lives"
)]

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use busline_core::Result;
use rdkafka::bindings as c;

use super::ask::{Answer, Ask, Native, check};

/// Whose settings are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Broker(i32),
}

/// One setting, without its value if that is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    /// Set for this topic itself, and not by a default of the brokers.
    pub(crate) is_of_topic: bool,
}

/// Waits for settings, in the order asked: what each resource is set to, or why it is not told.
///
/// # Errors
/// `Unavailable/NoAnswer`, and what the brokers refuse as a whole.
pub(crate) fn describe_configs(
    client: &Arc<dyn Native>,
    resources: &[Resource<'_>],
    limit: Duration,
) -> Result<Vec<Result<Vec<Setting>>>> {
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
    let ask = Ask::send(client, operation, limit, |client, options, queue| {
        let mut wanted: Vec<*mut c::rd_kafka_ConfigResource_t> = resources.iter().map(pointer_of).collect();
        // SAFETY: the request copies the resources, which are freed once, here.
        unsafe {
            c::rd_kafka_DescribeConfigs(client, wanted.as_mut_ptr(), wanted.len(), options, queue);
            c::rd_kafka_ConfigResource_destroy_array(wanted.as_mut_ptr(), wanted.len());
        }
    })?;
    Ok(described(&ask.wait(limit)?))
}

fn pointer_of(resource: &Resource<'_>) -> *mut c::rd_kafka_ConfigResource_t {
    use c::rd_kafka_ResourceType_t as Kind;
    let (kind, name) = match resource {
        Resource::Topic(name) => (Kind::RD_KAFKA_RESOURCE_TOPIC, CString::new(*name).unwrap_or_default()),
        Resource::Broker(id) => (Kind::RD_KAFKA_RESOURCE_BROKER, CString::new(id.to_string()).unwrap_or_default()),
    };
    // SAFETY: the name is copied.
    unsafe { c::rd_kafka_ConfigResource_new(kind, name.as_ptr()) }
}

fn described(answer: &Answer) -> Vec<Result<Vec<Setting>>> {
    // SAFETY: everything read here belongs to the answer and is copied before it ends.
    unsafe {
        let result = c::rd_kafka_event_DescribeConfigs_result(answer.event());
        let mut count = 0;
        let resources = c::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        (0..count).map(|place| settings(*resources.add(place))).collect()
    }
}

/// # Safety
/// The resource belongs to an answer that lives.
unsafe fn settings(resource: *const c::rd_kafka_ConfigResource_t) -> Result<Vec<Setting>> {
    // SAFETY: by the condition of this function.
    unsafe {
        check(c::rd_kafka_ConfigResource_error(resource))?;
        let mut count = 0;
        let entries = c::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        Ok((0..count).map(|place| setting(*entries.add(place))).collect())
    }
}

/// # Safety
/// The entry belongs to an answer that lives.
unsafe fn setting(entry: *const c::rd_kafka_ConfigEntry_t) -> Setting {
    const OF_TOPIC: c::rd_kafka_ConfigSource_t =
        c::rd_kafka_ConfigSource_t::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
    // SAFETY: by the condition of this function; a value that is not told is a null pointer.
    unsafe {
        let owned = |text: *const std::ffi::c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
        let value = c::rd_kafka_ConfigEntry_value(entry);
        Setting {
            name: owned(c::rd_kafka_ConfigEntry_name(entry)),
            value: (!value.is_null()).then(|| owned(value)),
            is_of_topic: c::rd_kafka_ConfigEntry_source(entry) == OF_TOPIC
                && c::rd_kafka_ConfigEntry_is_read_only(entry) == 0,
        }
    }
}

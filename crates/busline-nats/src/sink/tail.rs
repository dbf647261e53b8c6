//! The end of a stream, read back through its leader to find out what was stored.

use busline_core::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::admin::{Admin, StoredMessage};
use crate::topics::stream_info;

/// Questions under way at once.
const QUESTIONS: usize = 64;

/// The end of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The sequence that was asked for.
    pub(crate) after: u64,
    /// The messages behind it, in order.
    pub(crate) messages: Vec<StoredMessage>,
    /// The stream's last sequence when the reading began; everything up to it was read.
    pub(crate) last: u64,
}

impl Tail {
    /// Whether every sequence behind this one holds its message still: what is not found there was not stored. Where a
    /// limit or somebody has deleted one, it may have been the one that is looked for.
    pub(crate) fn is_whole_behind(&self, seq: u64) -> bool {
        let held = self.messages.iter().rev().take_while(|message| message.seq > seq).count();
        held as u64 == self.last.saturating_sub(seq)
    }
}

/// Reads all messages of a stream behind this sequence.
///
/// Each is asked of the leader by its number: a copy that is behind its leader would hide what was stored last.
///
/// # Errors
/// What keeps the leader from answering; `NotFound/Topic` if the stream is gone.
pub(crate) async fn read(admin: &Admin, name: &str, after: u64) -> Result<Tail> {
    let Some(info) = stream_info(admin, name).await? else {
        return Err(crate::error::from_api(&crate::error::ApiError {
            code: 404,
            err_code: crate::error::code::STREAM_NOT_FOUND,
            description: "the stream is gone".into(),
        }));
    };
    let last = info.state.last_seq;
    let questions =
        stream::iter(after + 1..=last).map(|seq| async move { admin.message(name, &json!({ "seq": seq })).await });
    let found: Vec<Option<StoredMessage>> = questions.buffered(QUESTIONS).try_collect().await?;
    Ok(Tail { after, messages: found.into_iter().flatten().collect(), last })
}

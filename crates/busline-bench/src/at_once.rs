//! The same work for several topics at a time: a server takes hardly longer for all than for one.

use anyhow::{Context, Error, Result};
use tokio::runtime::Handle;

/// Does all of this at once; gives what came of each, in their order, or the first error, but only once all have ended.
///
/// # Errors
/// Those of the work; a panic in it.
pub(crate) async fn at_once<W, T, E>(works: impl IntoIterator<Item = W>) -> Result<Vec<T>>
where
    W: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    let begun: Vec<_> = works.into_iter().map(|work| Handle::current().spawn(work)).collect();
    let mut ended = Vec::with_capacity(begun.len());
    for one in begun {
        ended.push(one.await.context("a part of it panicked").and_then(|outcome| outcome.map_err(Into::into)));
    }
    ended.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::bail;
    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn all_run_at_once_and_are_given_in_their_order() {
        let all = Arc::new(Barrier::new(5));
        let works = (0..5).map(|number| {
            let all = Arc::clone(&all);
            async move {
                all.wait().await;
                anyhow::Ok(number)
            }
        });
        assert_eq!(at_once(works).await.expect("all end well"), [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn the_first_error_is_told_once_all_have_ended() {
        let ended = Arc::new(());
        let works = (0..3).map(|number| {
            let held = Arc::clone(&ended);
            async move {
                tokio::task::yield_now().await;
                drop(held);
                if number > 0 { bail!("number {number}") } else { Ok(()) }
            }
        });
        assert_eq!(at_once(works).await.expect_err("two fail").to_string(), "number 1");
        assert_eq!(Arc::strong_count(&ended), 1);
    }
}

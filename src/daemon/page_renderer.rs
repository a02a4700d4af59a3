//! Makes the page about the queue: from the database, on a thread of its own, one at a time, and for a small part of the time,
//! however large the queue is and however many ask for it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::config::DatabaseSettings;
use crate::queue::{Opening, Queue, QueueError, ReportFilter};
use crate::report::{LivePage, Page, ROWS_ON_LIVE_PAGE, Summary, read};

/// A page is shown at least this long before a newer one is made.
const SHORTEST_USE: Duration = Duration::from_secs(5);
/// After a page was made, none is made for so many times as long as that took. Two threads are at work for a page, one and a half
/// on average, so it takes less than a tenth of a core.
const REST: u32 = 15;
/// A visitor doesn't wait for the end of a longer rest.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// So many pages are kept, each for its own filter.
const MOST_KEPT: usize = 4;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    /// The database.
    #[error("{}", .0.with_remedy())]
    Queue(#[from] QueueError),
    /// There is no thread to make it.
    #[error("the page can't be made: {0}")]
    Thread(#[from] io::Error),
    /// Too soon after the last one.
    #[error("the queue is large, so its pages are made seldom: the next one in {}", clock::rough(*.0))]
    Resting(Duration),
    /// A mistake in the program.
    #[error("the page can't be made: the log of certcommit says why")]
    Panicked,
}

/// Makes pages, and keeps the last ones.
#[derive(Debug, Clone)]
pub(super) struct PageRenderer {
    database: DatabaseSettings,
    recent: Arc<Mutex<RecentPages>>,
    /// Whoever holds it may make a page.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl PageRenderer {
    pub(super) fn new(database: DatabaseSettings) -> Self {
        Self { database, recent: Arc::default(), turn: Arc::default() }
    }

    /// The page with what meets the filter: one that was made not long ago, or a new one. `cap` is the configured maximum of
    /// commits a second.
    ///
    /// # Errors
    /// When a new one can't be made.
    pub(super) async fn page(&self, filter: &ReportFilter, cap: u32) -> Result<Arc<LivePage>, RenderError> {
        if let Some(page) = self.recent().usable(filter, clock::now().instant) {
            return Ok(page);
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(page) = self.recent().usable(filter, clock::now().instant) {
            return Ok(page);
        }
        let rest = self.recent().rest_left(clock::now().instant);
        if rest > LONGEST_REST {
            return Err(RenderError::Resting(rest));
        }
        sleep(rest).await;
        let (renderer, filter) = (self.clone(), filter.clone());
        // It goes on when the visitor leaves, and the next one gets the page.
        let making = tokio::spawn(async move {
            let page = renderer.make(filter, cap).await;
            drop(turn);
            page
        });
        making.await.unwrap_or(Err(RenderError::Panicked))
    }

    async fn make(&self, filter: ReportFilter, cap: u32) -> Result<Arc<LivePage>, RenderError> {
        let began = clock::now();
        let (database, summary) = (self.database.clone(), Summary::new(filter.clone(), began.unix.seconds(), cap));
        let made = on_own_thread(move || render(&database, summary)).await;
        let ended = clock::now().instant;
        let mut recent = self.recent();
        recent.rest(began.instant, ended);
        let page = Arc::new(made?);
        recent.keep(filter, Arc::clone(&page), began.instant, ended);
        Ok(page)
    }

    fn recent(&self) -> MutexGuard<'_, RecentPages> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for what another thread returns. A thread of the runtime would keep a stop waiting.
async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RenderError> + Send + 'static,
) -> Result<T, RenderError> {
    let (sender, ended) = oneshot::channel();
    let work = move || {
        if sender.send(work()).is_err() {
            tracing::debug!("the daemon ended before a page was made");
        }
    };
    thread::Builder::new().name("page".to_owned()).spawn(work)?;
    ended.await.unwrap_or(Err(RenderError::Panicked))
}

/// Reads the queue with a connection of its own, and makes the page.
fn render(database: &DatabaseSettings, mut summary: Summary) -> Result<LivePage, RenderError> {
    let mut page = Page::new(ROWS_ON_LIVE_PAGE);
    let reading = async {
        let mut queue = Queue::open(database, Opening::Looking).await?;
        read::<QueueError>(&mut queue, &mut summary, |story| {
            page.add(story);
            Ok(())
        })
        .await?;
        queue.close().await
    };
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(reading)?;
    Ok(LivePage::new(page, &summary))
}

/// The pages that were made last, and when the next one may be made.
#[derive(Debug, Default)]
struct RecentPages {
    /// The newest last.
    pages: VecDeque<RecentPage>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct RecentPage {
    filter: ReportFilter,
    page: Arc<LivePage>,
    usable_until: Instant,
}

impl RecentPages {
    /// The page with this filter, if it can still be shown.
    fn usable(&self, filter: &ReportFilter, now: Instant) -> Option<Arc<LivePage>> {
        let found = self.pages.iter().find(|recent| recent.filter == *filter && now < recent.usable_until);
        found.map(|recent| Arc::clone(&recent.page))
    }

    /// Somebody made a page, or failed to.
    fn rest(&mut self, began: Instant, ended: Instant) {
        self.next = Some(ended + (ended - began) * REST);
    }

    fn rest_left(&self, now: Instant) -> Duration {
        self.next.map(|next| next.saturating_duration_since(now)).unwrap_or_default()
    }

    fn keep(&mut self, filter: ReportFilter, page: Arc<LivePage>, began: Instant, ended: Instant) {
        self.pages.retain(|recent| recent.filter != filter);
        if self.pages.len() == MOST_KEPT {
            self.pages.pop_front();
        }
        let usable_until = ended + ((ended - began) * REST).max(SHORTEST_USE);
        self.pages.push_back(RecentPage { filter, page, usable_until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UnsafeFilesystem;

    fn filter(reference: &str) -> ReportFilter {
        ReportFilter { reference: Some(reference.to_owned()), ..ReportFilter::default() }
    }

    fn database(directory: &std::path::Path) -> DatabaseSettings {
        DatabaseSettings { path: directory.join("queue.db"), unsafe_filesystem: UnsafeFilesystem::Refuse }
    }

    fn empty_page() -> Arc<LivePage> {
        Arc::new(LivePage::new(Page::new(0), &Summary::default()))
    }

    /// Pages with one that took this long to make, and when it was made.
    fn after(took: Duration) -> (RecentPages, Instant) {
        let (mut recent, began) = (RecentPages::default(), clock::now().instant);
        recent.rest(began, began + took);
        recent.keep(filter("spring"), empty_page(), began, began + took);
        (recent, began + took)
    }

    #[test]
    fn a_page_is_shown_for_five_seconds_or_fifteen_times_as_long_as_it_took() {
        for (took, shown) in [(Duration::from_millis(20), 5), (Duration::from_secs(7), 105)] {
            let (recent, ended) = after(took);
            let usable = |millis| recent.usable(&filter("spring"), ended + Duration::from_millis(millis)).is_some();
            assert!(usable(0) && usable(shown * 1000 - 1) && !usable(shown * 1000), "{took:?}");
        }
    }

    #[test]
    fn whatever_the_filter_no_page_is_made_for_fifteen_times_as_long_as_the_last_one_took() {
        let (recent, ended) = after(Duration::from_secs(7));
        assert!(recent.usable(&filter("autumn"), ended).is_none());
        let left = |seconds| recent.rest_left(ended + Duration::from_secs(seconds));
        assert_eq!([0, 100, 105, 200].map(left), [105, 5, 0, 0].map(Duration::from_secs));
        assert_eq!(RecentPages::default().rest_left(ended), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_visitor_is_told_when_the_next_page_of_a_large_queue_is_made() {
        let renderer = PageRenderer::new(database(std::path::Path::new("/nowhere")));
        let began = clock::now().instant;
        renderer.recent().rest(began, began + Duration::from_secs(20));
        let error = renderer.page(&ReportFilter::default(), 20).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the queue is large, so its pages are made seldom: the next one in 5 min "),
            "{error}"
        );
    }

    #[test]
    fn the_last_few_pages_are_kept_one_for_each_filter() {
        let (mut recent, ended) = after(Duration::ZERO);
        let usable = |recent: &RecentPages, name| recent.usable(&filter(name), ended).is_some();
        for name in ["a", "b", "b", "c"] {
            recent.keep(filter(name), empty_page(), ended, ended);
        }
        assert!(["spring", "a", "b", "c"].into_iter().all(|name| usable(&recent, name)));
        recent.keep(filter("d"), empty_page(), ended, ended);
        assert!(usable(&recent, "d") && !usable(&recent, "spring"));
        assert_eq!(recent.pages.len(), MOST_KEPT);
    }

    #[tokio::test]
    async fn visitors_who_come_together_get_the_same_page() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(directory.path());
        let queue = Queue::open(&database, Opening::Create).await.unwrap();
        let renderer = PageRenderer::new(database);
        let all = ReportFilter::default();
        let (one, other) = tokio::join!(renderer.page(&all, 20), renderer.page(&all, 20));
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
        queue.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_page_whose_visitor_left_is_made_for_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let database = database(directory.path());
        let _queue = Queue::open(&database, Opening::Create).await.unwrap();
        let renderer = PageRenderer::new(database);
        let all = ReportFilter::default();
        {
            let mut leaves = std::pin::pin!(renderer.page(&all, 20));
            // The first look at it starts the thread.
            std::future::poll_fn(|context| {
                assert!(leaves.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        let page = renderer.page(&all, 20).await.unwrap();
        assert_eq!(renderer.recent().pages.len(), 1);
        assert!(Arc::ptr_eq(&page, &renderer.recent().pages[0].page));
    }

    #[tokio::test]
    async fn without_a_queue_the_error_has_its_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let renderer = PageRenderer::new(database(directory.path()));
        let error = renderer.page(&ReportFilter::default(), 20).await.unwrap_err().to_string();
        assert!(error.contains("there is no queue at") && error.contains("; create it with"), "{error}");
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_an_error() {
        let ended = on_own_thread::<()>(|| panic!("as in a test")).await;
        assert!(matches!(ended, Err(RenderError::Panicked)), "{ended:?}");
    }
}

//! What txguard logs, kept in memory. One subscriber serves all tests of a process; the name of
//! the thread tells which proxy it was (each has threads of its own).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// One log line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    /// Fields as text; the text of the line is `message`.
    pub(crate) fields: BTreeMap<&'static str, String>,
    thread: String,
}

impl Line {
    /// A field, or an empty text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A number, or `None` if the field is missing.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name).map(|text| text.parse().expect("a number"))
    }
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Panics, as thread name and text.
static PANICS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Starts keeping log lines and panics.
pub(crate) fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Keep);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else logs");
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let entry = (thread(), info.to_string());
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            print(info);
        }));
    });
}

/// Lines of the threads with this name, oldest first.
pub(crate) fn lines(of_thread: &str) -> Vec<Line> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.thread == of_thread).cloned().collect()
}

/// Panics of the threads with this name.
pub(crate) fn panics(of_thread: &str) -> Vec<String> {
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    panics.iter().filter(|(name, _)| name == of_thread).map(|(_, text)| text.clone()).collect()
}

fn thread() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("txguard") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(Line {
            level: *metadata.level(),
            target: metadata.target(),
            fields: fields.0,
            thread: thread(),
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

//! Hot path: the replies that are still to come, in order, and whose they are.
//!
//! Clients may send several commands before the first answer, and txguard puts commands of its
//! own between them. The backend answers strictly in order, so a queue tells what each packet
//! belongs to: to the client (forward), or to a statement of ours (swallow).

use std::collections::VecDeque;

use super::command::Command;

/// A reply to come; `C` is what the caller wants to remember about the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<C> {
    /// The command it answers.
    pub command: Command,
    /// Whose it is, and what the caller remembers.
    pub context: C,
}

/// Replies to come, oldest first.
#[derive(Debug)]
pub struct Expectations<C> {
    queue: VecDeque<Expected<C>>,
}

impl<C> Default for Expectations<C> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<C> Expectations<C> {
    /// How many a client may pipeline before it is made to wait: enough for any driver, and a
    /// bound for one that never reads.
    pub const MAX: usize = 1024;

    /// A command was sent that will be answered.
    #[inline]
    pub fn push(&mut self, command: Command, context: C) {
        self.queue.push_back(Expected { command, context });
    }

    /// The reply that comes next.
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<&Expected<C>> {
        self.queue.front()
    }

    /// The reply that comes last.
    #[inline]
    #[must_use]
    pub fn back(&self) -> Option<&Expected<C>> {
        self.queue.back()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Expected<C>> {
        self.queue.iter()
    }

    /// The reply is complete.
    #[inline]
    pub fn pop(&mut self) -> Option<Expected<C>> {
        self.queue.pop_front()
    }

    /// Nothing is to come.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// No more commands may be sent for now.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= Self::MAX
    }
}

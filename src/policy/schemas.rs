//! The schemas of all rules that name one and the same user pattern.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::base::config::Pattern;

/// For one user pattern: which rule takes which schema. Rules are known by their place in the
/// file; the smallest one that matches wins.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// The first rule for each exact name, in lower case.
    exact: HashMap<Box<str>, usize>,
    /// Globs in the order of their rules.
    globs: Vec<(Pattern, usize)>,
    /// The first rule that takes every schema.
    any: Option<usize>,
    /// The first rule that switches something on.
    active: Option<usize>,
}

impl Schemas {
    /// Adds a rule; rules come in the order of the file.
    pub(super) fn add(&mut self, rule: usize, schemas: Option<&[Pattern]>, active: bool) {
        if active {
            self.active.get_or_insert(rule);
        }
        let Some(schemas) = schemas.filter(|list| !list.iter().any(Pattern::is_any)) else {
            self.any.get_or_insert(rule);
            return;
        };
        for pattern in schemas {
            let name = pattern.as_str().to_lowercase();
            if pattern.is_exact() {
                if let Entry::Vacant(free) = self.exact.entry(name.into()) {
                    free.insert(rule);
                }
            } else {
                self.globs.push((Pattern::new(name), rule));
            }
        }
    }

    /// The first rule that takes a schema; `schema` must be in lower case, empty for none.
    pub(super) fn find(&self, schema: &str) -> Option<usize> {
        let exact = self.exact.get(schema).copied();
        let known = [exact, self.any].into_iter().flatten().min();
        let glob = self
            .globs
            .iter()
            .map(|(pattern, rule)| (pattern, *rule))
            .take_while(|(_, rule)| known.is_none_or(|known| *rule < known))
            .find(|(pattern, _)| pattern.matches(schema))
            .map(|(_, rule)| rule);
        glob.or(known)
    }

    /// The first rule that takes every schema.
    pub(super) const fn any(&self) -> Option<usize> {
        self.any
    }

    /// The first rule that switches something on.
    pub(super) const fn active(&self) -> Option<usize> {
        self.active
    }

    /// How many globs a look-up may have to try.
    #[cfg(test)]
    pub(super) const fn globs_len(&self) -> usize {
        self.globs.len()
    }
}

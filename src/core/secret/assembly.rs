//! Contents of a Secret that take milliseconds to assemble: those with templates or many tokens.
//! The inputs are collected under the lock, the contents assembled outside of it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::core::secret::data::Data;
use crate::core::secret::shape::Shape;
use crate::core::secret::templates::Templates;
use crate::core::secret::write::SECRET_SIZE_MAX;
use crate::core::token::record::Held;

/// Up to this many tokens without templates are assembled at once: they always fit into a Secret.
const TOKENS_MIN: usize = 64;

/// A token to put into a Secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offered {
    pub held: Held,
    /// Whether the Secret already has a token of this corp.
    pub is_in_secret: bool,
}

/// The inputs of a Secret's contents.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub generation: Option<i64>,
    pub templates: Arc<Templates>,
    pub shape: Shape,
    /// The tokens, in the order of the spec.
    pub tokens: Vec<Offered>,
}

/// Contents ready to be written.
#[derive(Clone)]
pub(crate) struct Contents {
    pub data: Data,
    pub digest: String,
}

/// The outcome of an [`Assembly`], valid only for exactly its inputs.
pub(crate) struct Assembled {
    from: Assembly,
    /// Which of the tokens are in the contents: as many as fit.
    kept: Vec<bool>,
    /// Size with all tokens.
    size: usize,
    contents: Option<Contents>,
}

/// What an [`Assembled`] has for a list of tokens.
pub(crate) enum Answer {
    /// The tokens do not all fit, but those of these corps do.
    TooLarge(Vec<String>),
    Contents(Contents),
}

impl std::fmt::Debug for Assembled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Assembled")
    }
}

impl Contents {
    pub(crate) fn of(shape: Shape, templates: &Templates, tokens: &[&Held]) -> Self {
        let mut data = Data::of(shape, tokens.iter().copied());
        data.0.extend(templates.render(tokens));
        let digest = data.digest();
        Self { data, digest }
    }
}

impl Assembly {
    /// Whether contents of this many tokens are assembled outside the lock.
    pub(crate) fn is_for(templates: &Templates, tokens: usize) -> bool {
        !templates.is_empty() || tokens > TOKENS_MIN
    }

    pub(crate) fn assemble(self) -> Assembled {
        let sizes = |offered: &Offered| Data::of(self.shape, [&offered.held]).size();
        let sizes: Vec<usize> = self.tokens.iter().map(sizes).collect();
        let all = vec![true; self.tokens.len()];
        let size = sizes.iter().sum::<usize>() + self.templates.size(&self.chosen(&all));
        let kept = match size <= SECRET_SIZE_MAX {
            true => all,
            false => self.fitting(&sizes, size),
        };
        let tokens = self.chosen(&kept);
        let contents =
            (!tokens.is_empty()).then(|| Contents::of(self.shape, &self.templates, &tokens));
        Assembled {
            kept,
            size,
            contents,
            from: self,
        }
    }

    fn chosen(&self, kept: &[bool]) -> Vec<&Held> {
        let tokens = self.tokens.iter().zip(kept);
        let chosen = tokens.filter(|(_, is_kept)| **is_kept);
        chosen.map(|(offered, _)| &offered.held).collect()
    }

    /// Selects as many tokens as fit, preferably those already in the Secret: one too many must not
    /// hold those back.
    fn fitting(&self, sizes: &[usize], size: usize) -> Vec<bool> {
        let tokens = self.tokens.iter().zip(sizes).enumerate();
        let mut order: Vec<_> = tokens
            .map(|(index, (offered, size))| (index, offered.is_in_secret, size))
            .collect();
        order.sort_by_key(|(_, is_in_secret, _)| !is_in_secret);
        let first = |count: usize| {
            let chosen: HashSet<_> = order.iter().take(count).map(|(index, ..)| index).collect();
            let all = 0..order.len();
            all.map(|index| chosen.contains(&index)).collect::<Vec<_>>()
        };
        let size_of = |count: usize| {
            let tokens: usize = order.iter().take(count).map(|(.., size)| *size).sum();
            match tokens > SECRET_SIZE_MAX {
                true => tokens,
                false => tokens + self.templates.size(&self.chosen(&first(count))),
            }
        };
        first(most(order.len(), size, size_of))
    }
}

/// Returns how many of `count` tokens fit. `size_of` tells the size of the first ones; that of all,
/// `size`, is too large.
///
/// A pass over the templates takes milliseconds, so every second guess assumes that all tokens are
/// of equal size, which is usually right.
fn most(count: usize, size: usize, size_of: impl Fn(usize) -> usize) -> usize {
    let (mut fitting, mut excess) = ((0, 0), (count, size));
    for is_guess in [true, false].into_iter().cycle() {
        let between = excess.0 - fitting.0;
        if between <= 1 {
            break;
        }
        let guess = (SECRET_SIZE_MAX - fitting.1) * between / (excess.1 - fitting.1);
        let count = match is_guess {
            true => fitting.0 + guess.clamp(1, between - 1),
            false => fitting.0.midpoint(excess.0),
        };
        match size_of(count) {
            size if size <= SECRET_SIZE_MAX => fitting = (count, size),
            size => excess = (count, size),
        }
    }
    fitting.0
}

impl Assembled {
    /// Returns what is known for these tokens; `None` if it was made of other inputs. Contents are
    /// returned only once.
    pub(crate) fn answer(
        &mut self,
        generation: Option<i64>,
        templates: &Arc<Templates>,
        tokens: &[&Held],
    ) -> Option<Answer> {
        if self.from.generation != generation || !Arc::ptr_eq(&self.from.templates, templates) {
            return None;
        }
        if self.from.chosen(&self.kept) == tokens {
            return self.contents.take().map(Answer::Contents);
        }
        let all = self.from.tokens.iter().map(|offered| &offered.held);
        let is_of_these = all.eq(tokens.iter().copied());
        is_of_these.then(|| Answer::TooLarge(self.corps(true)))
    }

    /// Returns the corps whose tokens are in the contents, or those whose tokens are left out.
    fn corps(&self, are_kept: bool) -> Vec<String> {
        let tokens = self.from.tokens.iter().zip(&self.kept);
        let tokens = tokens.filter(|(_, is_kept)| **is_kept == are_kept);
        let corps = tokens.map(|(offered, _)| offered.held.record.corp_id.clone());
        corps.collect()
    }

    /// Returns the size with all tokens and the corps left out, if not all fit.
    pub(crate) fn excess(&self) -> Option<(usize, Vec<String>)> {
        let left_out = self.corps(false);
        (!left_out.is_empty()).then_some((self.size, left_out))
    }

    /// Returns the contents, unless they were taken.
    #[cfg(test)]
    pub fn contents(&self) -> Option<&Contents> {
        self.contents.as_ref()
    }

    /// Keeps only that not all tokens fit, without any contents.
    pub(crate) fn noted(mut self: Box<Self>) -> Option<Box<Self>> {
        self.contents = None;
        self.kept.contains(&false).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn as_many_tokens_are_kept_as_fit_and_those_of_equal_size_take_three_passes() {
        for size in [1050, 3000, 40_000, SECRET_SIZE_MAX, SECRET_SIZE_MAX + 1] {
            let passes = Cell::new(0);
            let size_of = |count: usize| {
                passes.set(passes.get() + 1);
                count * size
            };
            let most = most(1000, 1000 * size, size_of);
            assert_eq!(most, SECRET_SIZE_MAX / size);
            assert!(passes.get() <= 3, "{size}: {} passes", passes.get());
        }
        // The first ones are small.
        let size_of = |count: usize| count + count.saturating_sub(700) * 10_000;
        let most = most(1000, size_of(1000), size_of);
        assert!(size_of(most) <= SECRET_SIZE_MAX);
        assert!(size_of(most + 1) > SECRET_SIZE_MAX);
    }
}

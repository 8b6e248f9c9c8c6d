//! Puts tokens into the Secrets that should hold them, and deletes the Secrets that should not.

use jiff::{SignedDuration, Timestamp};

use crate::api::Cause;
use crate::core::app::corp::Corp;
use crate::core::app::decision::Decision;
use crate::core::app::view::{Blocked, Target, TargetStep};
use crate::core::secret::assembly::Assembled;
use crate::core::secret::desired::{Inputs, Known, Need, need};
use crate::core::secret::former::unneeded;
use crate::core::secret::news::News;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Deletion, TARGET_STEPS_MAX, Write};
use crate::core::secret::writing::Turn;
use crate::core::token::record::TokenRecord;
use crate::core::token::why::Why;

/// How long a write waits for more tokens: what is fetched is in the Secret within 5 s of the first
/// unwritten token, the write itself included.
const BATCH: SignedDuration = SignedDuration::from_millis(4700);

/// Returns the target that holds a corp's token.
fn target_of<'t, 'a>(targets: &'t [Target<'a>], corp_id: &String) -> Option<&'t Target<'a>> {
    targets
        .iter()
        .find(|target| target.corp_ids.contains(corp_id))
}

impl Decision<'_, '_> {
    /// Returns the reads of former targets for wanted tokens that are nowhere else.
    pub(super) fn carry_over(&self, targets: &[Target<'_>]) -> Vec<TargetStep> {
        if self.view.app.spec.suspend {
            return Vec::new();
        }
        let (view, memory, now) = (self.view, &self.memory, self.now);
        let is_missing = |token: &&TokenRecord| {
            let corp = memory.corp(&token.corp_id);
            token.site == view.app.spec.site
                && token.lifetime.expires_at > now
                && corp.believes(token, now)
                && corp.held.is_none()
                && !corp.attempts(view.tokens).is_under_way()
                && target_of(targets, &token.corp_id)
                    .is_some_and(|target| target.token(view, &token.corp_id).is_none())
        };
        let reads = view.former.iter().filter_map(|(name, former)| {
            let is_trusted = !memory.writing(name).distrusts(&former.version);
            let recorded = former.recorded.as_ref().filter(|_| is_trusted)?;
            let missing = recorded.tokens.iter().filter(is_missing);
            let corp_ids: Vec<String> = missing.map(|token| token.corp_id.clone()).collect();
            (!corp_ids.is_empty()).then(|| TargetStep::Read {
                name: (*name).to_owned(),
                corp_ids,
            })
        });
        reads.take(TARGET_STEPS_MAX).collect()
    }

    /// Looks again at this time.
    fn wait(&mut self, until: Timestamp) -> Option<TargetStep> {
        self.wake.at(until);
        None
    }

    /// Returns the looks at targets whose metadata there was no room for.
    pub(super) fn look_for_room(&mut self, targets: &[Target<'_>]) -> Vec<TargetStep> {
        let is_left_out = |target: &&Target<'_>| {
            target.blocked == Some(Blocked::TargetPastBounds)
                && target.present.is_some_and(TargetMeta::has_no_room)
        };
        let looks = targets.iter().filter(is_left_out).filter_map(|target| {
            let writing = self.memory.writing_mut(&target.name);
            match writing.look_for_room_at(self.now) {
                Some(later) => self.wait(later),
                None => Some(TargetStep::Look {
                    name: target.name.clone(),
                }),
            }
        });
        looks.take(TARGET_STEPS_MAX).collect()
    }

    /// Returns what to do about a target's contents and metadata.
    pub(super) fn write_target(&mut self, target: &mut Target<'_>) -> Option<TargetStep> {
        let is_deleting = target.present.is_some_and(|present| present.deleting);
        if target.blocked.is_some() || is_deleting {
            return None;
        }
        let writing = self.memory.writing_mut(&target.name);
        if target.present.is_none() {
            writing.is_gone();
        }
        let mut assembled = writing.assembled.take();
        let need = self.fitting_need(target, assembled.as_deref_mut());
        // What does not fit is not waited for.
        for corp_id in target.excess.iter().flat_map(|(_, left_out)| left_out) {
            self.memory.corp_mut(corp_id).unwritten_since = None;
        }
        let need = need.filter(|need| self.may_meet(need, target));
        let batch_until = match need {
            Some(Need::Assemble(_) | Need::Write(_)) => self.batch_until(target),
            _ => None,
        };
        let writing = self.memory.writing_mut(&target.name);
        writing.assembled = assembled.and_then(Assembled::noted);
        if let Some(later) = batch_until {
            self.memory.looks.begin_at(later);
            return self.wait(later);
        }
        let (name, generation) = (target.name.clone(), self.view.app.metadata.generation);
        match need? {
            Need::Nothing => {
                writing.failure = None;
                if writing.contested {
                    self.wake.at(self.now + SignedDuration::from_secs(60));
                }
                None
            }
            Need::TooLarge(_) => None,
            Need::Values => {
                let corp_ids = target.corp_ids.iter();
                let corp_ids = corp_ids.filter(|id| target.token(self.view, id).is_some());
                let corp_ids = corp_ids.cloned().collect();
                Some(TargetStep::Read { name, corp_ids })
            }
            Need::Assemble(assembly) => match writing.write_at(generation, self.now) {
                Some(later) => self.wait(later),
                None => Some(TargetStep::Assemble { name, assembly }),
            },
            Need::Write(write) => self.write_in_turn(target, write),
        }
    }

    /// Whether the contents of the target may change. While its app is suspended, they only do for a
    /// token that was requested before.
    fn may_meet(&self, need: &Need, target: &Target<'_>) -> bool {
        let keeps_contents = match need {
            Need::Nothing | Need::TooLarge(_) => true,
            Need::Write(write) => write.data.is_empty(),
            Need::Values | Need::Assemble(_) => false,
        };
        let mut corps = self.corps(target);
        !self.view.app.spec.suspend
            || keeps_contents
            || corps.any(|corp| corp.unwritten_since.is_some())
    }

    fn write_in_turn(&mut self, target: &Target<'_>, mut write: Box<Write>) -> Option<TargetStep> {
        let (replaces, generation) = (write.replaces.as_ref(), self.generation());
        let writing = self.memory.writing_mut(&target.name);
        match writing.turn(&write.recorded, replaces, generation, self.now) {
            Turn::Later(later) => self.wait(later),
            Turn::Replace(version) => {
                let (name, why) = (target.name.clone(), Deletion::Immutable);
                Some(TargetStep::Delete { name, version, why })
            }
            Turn::Now { is_repair } => {
                write.news = self.news(target, &write);
                let why = self.write_cause(target, &write.recorded, is_repair);
                Some(TargetStep::Write { write, why })
            }
        }
    }

    /// Returns why the content `new` is written, which is preferably why an unwritten token was
    /// fetched.
    fn write_cause(&self, target: &Target<'_>, new: &Recorded, is_repair: bool) -> Why {
        if is_repair {
            return match target.present {
                Some(_) => Cause::TargetChanged.into(),
                None => Cause::TargetMissing.into(),
            };
        }
        let unwritten = self
            .corps(target)
            .filter(|corp| corp.unwritten_since.is_some());
        let why = unwritten.filter_map(|corp| corp.why.as_ref()).min();
        match (why, &target.recorded) {
            (Some(why), _) => why.clone(),
            (None, None) if target.present.is_some() => Cause::TargetChanged.into(),
            (None, Some(old)) if old.credentials() != new.credentials() => {
                Cause::CredentialsChanged.into()
            }
            (None, Some(_)) if self.memory.was_put_right(&target.name, self.generation()) => {
                Cause::TargetChanged.into()
            }
            (None, _) => Cause::SpecChanged.into(),
        }
    }

    fn news(&self, target: &Target<'_>, write: &Write) -> News {
        News::of(&write.recorded, target.recorded.as_ref(), |old, new| {
            let changed_at = self.memory.corp(&new.corp_id).value_changed_at;
            // A value may have changed before its last renewal, or be one that another app
            // had fetched before.
            changed_at
                .is_some_and(|at| at > old.lifetime.requested_at || at == new.lifetime.requested_at)
        })
    }

    fn corps(&self, target: &Target<'_>) -> impl Iterator<Item = &Corp> {
        let corp_ids = target.corp_ids.iter();
        corp_ids.map(move |corp_id| self.memory.corp(corp_id))
    }

    /// Returns what to do so that the target holds as many of its tokens as fit.
    fn fitting_need(
        &self,
        target: &mut Target<'_>,
        mut assembled: Option<&mut Assembled>,
    ) -> Option<Need> {
        let mut need = self.need(target, target.corp_ids, assembled.as_deref_mut());
        // Until new contents are assembled, what did not fit before still does not.
        if let Some(Need::TooLarge(_) | Need::Assemble(_)) = &need
            && let Some((size, left_out)) = assembled.as_ref().and_then(|it| it.excess())
        {
            target.excess = Some((size, left_out.into_iter().collect()));
        }
        if let Some(Need::TooLarge(fitting)) = &mut need
            && !fitting.is_empty()
        {
            let fitting = std::mem::take(fitting);
            need = self.need(target, &fitting, assembled);
        }
        need
    }

    fn need(
        &self,
        target: &Target<'_>,
        corp_ids: &[String],
        assembled: Option<&mut Assembled>,
    ) -> Option<Need> {
        let mut tokens = Vec::with_capacity(corp_ids.len());
        let mut value_changed_at = None;
        for corp_id in corp_ids {
            let corp = self.memory.corp(corp_id);
            value_changed_at = value_changed_at.max(corp.value_changed_at);
            let known = match corp.unwritten_since {
                Some(_) => Known::Unwritten,
                None => Known::Held,
            };
            let in_secret = || target.token(self.view, corp_id).map(Known::Recorded);
            tokens.extend(corp.held.as_ref().map(known).or_else(in_secret));
        }
        if tokens.is_empty() {
            return None;
        }
        let app = self.view.app;
        let inputs = Inputs {
            app,
            name: &target.name,
            tokens: &tokens,
            templates: self.memory.templates(app)?.as_ref().ok()?,
            present: target.present,
            recorded: target.recorded.as_ref(),
            value_changed_at,
        };
        Some(need(&inputs, assembled))
    }

    /// Returns until when a write waits for more tokens in flight; `None` if it does not.
    fn batch_until(&self, target: &Target<'_>) -> Option<Timestamp> {
        let view = self.view;
        let mut tokens = target
            .corp_ids
            .iter()
            .filter_map(|id| target.token(view, id));
        let is_first = !tokens.any(|token| token.lifetime.expires_at > self.now);
        let is_under_way = |corp: &Corp| corp.attempts(view.tokens).is_under_way();
        if is_first || view.is_ending || !self.corps(target).any(is_under_way) {
            return None;
        }
        let since = self.corps(target).filter_map(|corp| corp.unwritten_since);
        Some(since.min()? + BATCH).filter(|at| *at > self.now)
    }

    /// Returns the deletions of former targets whose tokens the current targets hold, or have
    /// expired; none while the app is suspended.
    pub(super) fn delete_former(&mut self, targets: &[Target<'_>]) -> Vec<TargetStep> {
        if self.view.app.spec.suspend {
            return Vec::new();
        }
        let (view, memory, now) = (self.view, &self.memory, self.now);
        let generation = view.app.metadata.generation;
        let is_needed = |token: &TokenRecord| {
            let target = target_of(targets, &token.corp_id);
            let is_needed = target.is_some_and(|target| {
                let is_expired = token.lifetime.expires_at <= now;
                // Any token is the successor of one from another site, or with implausible times.
                let is_comparable = token.site == view.app.spec.site && memory.believes(token, now);
                let is_carried = target.token(view, &token.corp_id).is_some_and(|now| {
                    !is_comparable
                        || now.lifetime.expires_at >= token.lifetime.expires_at
                        || now.lifetime.requested_at >= token.lifetime.requested_at
                });
                !(is_carried || is_expired && target.blocked.is_none())
            });
            let expires_at = Some(token.lifetime.expires_at);
            self.wake.later(expires_at.filter(|_| is_needed), now);
            is_needed
        };
        unneeded(
            &view.former,
            &memory.targets,
            (&memory.uid, generation),
            now,
            is_needed,
            |name, version, why| TargetStep::Delete { name, version, why },
        )
    }
}

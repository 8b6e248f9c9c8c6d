//! The Secrets that an app wants, and the writes that achieve them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{DeletionPolicy, DingTalkApp, Layout};
use crate::core::secret::assembly::{Answer, Assembled, Assembly, Contents, Offered};
use crate::core::secret::owner::{Owner, is_in_order};
use crate::core::secret::recorded::{Recorded, sort, written_keys};
use crate::core::secret::shape::Shape;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::templates::Templates;
use crate::core::secret::write::{Changes, Write, removal};
use crate::core::token::record::{Held, TokenRecord};

/// A Secret that an app wants, and the corps whose tokens it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub name: String,
    pub corp_ids: &'a [String],
}

/// Returns the Secrets that an app wants.
pub(crate) fn wanted(app: &DingTalkApp) -> Vec<Wanted<'_>> {
    let corp_ids = app.spec.corp_ids.as_slice();
    let name = app.target_name();
    match app.spec.target.layout {
        Layout::Single => vec![Wanted {
            name,
            corp_ids: corp_ids.get(..1).unwrap_or_default(),
        }],
        Layout::Combined => vec![Wanted { name, corp_ids }],
        Layout::PerCorp => corp_ids
            .iter()
            .map(|corp_id| Wanted {
                name: per_corp_name(&name, corp_id),
                corp_ids: std::slice::from_ref(corp_id),
            })
            .collect(),
    }
}

/// Returns the name of a corp's Secret with layout `PerCorp`.
pub(crate) fn per_corp_name(target: &str, corp_id: &str) -> String {
    format!("{target}-{corp_id}")
}

/// A token that belongs in a Secret.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// Its value is known, and is in the Secret if the Secret has this record.
    Held(&'a Held),
    /// Its value is known and not in the Secret yet.
    Unwritten(&'a Held),
    /// It is already in the Secret, and its value is unknown.
    Recorded(&'a TokenRecord),
}

impl Known<'_> {
    fn record(&self) -> &TokenRecord {
        match self {
            Self::Held(held) | Self::Unwritten(held) => &held.record,
            Self::Recorded(record) => record,
        }
    }
}

/// What to do about a Secret.
pub(crate) enum Need {
    /// Nothing: it is in order.
    Nothing,
    /// Read it first: values are needed that only the Secret has.
    Values,
    Write(Box<Write>),
    /// Assemble its contents first.
    Assemble(Box<Assembly>),
    /// Report that the contents exceed a Secret's size. The tokens of these corps fit.
    TooLarge(Vec<String>),
}

/// What a write is decided from.
pub(crate) struct Inputs<'a> {
    pub app: &'a DingTalkApp,
    pub name: &'a str,
    /// The tokens that belong in it, at least one.
    pub tokens: &'a [Known<'a>],
    pub templates: &'a Arc<Templates>,
    /// The Secret as it is.
    pub present: Option<&'a TargetMeta>,
    /// What it is known to hold.
    pub recorded: Option<&'a Recorded>,
    /// When a value last changed, if that is not recorded yet.
    pub value_changed_at: Option<Timestamp>,
}

/// Returns what to do so that the Secret holds these tokens, using contents that were assembled for
/// them.
pub(crate) fn need(inputs: &Inputs<'_>, assembled: Option<&mut Assembled>) -> Need {
    let (app, present) = (inputs.app, inputs.present);
    let kept = inputs.kept();
    let (mut recorded, data) = match kept {
        Some(kept) => (kept.clone(), BTreeMap::new()),
        None => match inputs.rewritten(assembled) {
            Ok(rewritten) => rewritten,
            Err(need) => return need,
        },
    };
    let tokens = inputs.tokens.iter();
    recorded.tokens = tokens.map(|known| known.record().clone()).collect();
    sort(&mut recorded.tokens);
    let was_changed_at = inputs.recorded.and_then(|old| old.value_changed_at);
    // Not the later of both: a clock that was ahead would hide every change until then.
    recorded.value_changed_at = inputs.value_changed_at.or(was_changed_at);
    let target = &app.spec.target;
    let mut owner = Owner::of(app, &target.labels, &target.annotations);
    owner.is_retained = target.deletion_policy == DeletionPolicy::Retain;
    let write = owner.write(inputs.name, recorded, data, present);
    match present {
        Some(present) if kept.is_some() && is_in_order(present, &write) => Need::Nothing,
        _ => Need::Write(Box::new(write)),
    }
}

impl Inputs<'_> {
    fn shape(&self) -> Shape {
        Shape::of(self.app.spec.target.layout)
    }

    /// Returns the record of a token that stays in the Secret unchanged.
    fn in_secret(&self, known: &Known<'_>) -> Option<&TokenRecord> {
        let recorded = self.recorded?;
        let is_written = recorded.shape == self.shape() && !matches!(known, Known::Unwritten(_));
        let record = known.record();
        let old = recorded.token(&record.corp_id).filter(|_| is_written);
        old.filter(|old| old.is_same_token(record))
    }

    /// Returns the record if the contents stay unchanged, whichever release wrote them.
    fn kept(&self) -> Option<&Recorded> {
        let recorded = self.recorded?;
        let is_kept = |known: &Known<'_>| {
            // A template can show the client_id that a token was fetched with.
            let is_same_client = |old: &TokenRecord| {
                let ids = old.client_id().zip(known.record().client_id());
                self.templates.is_empty() || ids.is_none_or(|(old, new)| old == new)
            };
            self.in_secret(known).is_some_and(is_same_client)
        };
        let is_kept = recorded.digest.is_some()
            && recorded.templates == self.templates.signature()
            && recorded.tokens.len() == self.tokens.len()
            && self.tokens.iter().all(is_kept);
        is_kept.then_some(recorded)
    }

    /// Returns the record of the new contents, and the keys that change.
    fn rewritten(&self, assembled: Option<&mut Assembled>) -> Result<(Recorded, Changes), Need> {
        let held = self.tokens.iter().map(|known| match known {
            Known::Held(held) | Known::Unwritten(held) => Some(*held),
            Known::Recorded(_) => None,
        });
        let held: Option<Vec<&Held>> = held.collect();
        let contents = contents(self, &held.ok_or(Need::Values)?, assembled)?;
        let mut changes = removal(self.present);
        // Unchanged keys are not sent: with a thousand tokens they take a megabyte.
        let staying = self.tokens.iter().filter_map(|known| {
            let old = self.in_secret(known)?;
            Some(self.recorded?.keys_of(&old.corp_id))
        });
        let staying: HashSet<String> = staying.flatten().collect();
        for (key, value) in contents.data.0 {
            match staying.contains(&key) {
                true => changes.remove(&key),
                false => changes.insert(key, Some(value)),
            };
        }
        let recorded = Recorded {
            shape: self.shape(),
            keys: written_keys(self.shape(), self.templates.keys()),
            tokens: Vec::new(),
            templates: self.templates.signature().to_owned(),
            digest: Some(contents.digest),
            value_changed_at: None,
        };
        Ok((recorded, changes))
    }
}

/// Returns the contents for these tokens, or what to do to get them.
fn contents(
    inputs: &Inputs<'_>,
    held: &[&Held],
    assembled: Option<&mut Assembled>,
) -> Result<Contents, Need> {
    let shape = inputs.shape();
    if !Assembly::is_for(inputs.templates, held.len()) {
        return Ok(Contents::of(shape, inputs.templates, held));
    }
    let generation = inputs.app.metadata.generation;
    match assembled.and_then(|it| it.answer(generation, inputs.templates, held)) {
        Some(Answer::Contents(contents)) => Ok(contents),
        Some(Answer::TooLarge(fitting)) => Err(Need::TooLarge(fitting)),
        None => {
            let in_secret = |held: &Held| inputs.recorded?.token(&held.record.corp_id);
            let offered = |held: &&Held| Offered {
                held: (*held).clone(),
                is_in_secret: in_secret(held).is_some(),
            };
            Err(Need::Assemble(Box::new(Assembly {
                generation,
                templates: Arc::clone(inputs.templates),
                shape,
                tokens: held.iter().map(offered).collect(),
            })))
        }
    }
}

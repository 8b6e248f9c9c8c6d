//! A Secret's record in its annotations.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{ANNOTATION_CORP_ID, ANNOTATION_EXPIRES_AT, ANNOTATION_SITE, ANNOTATION_STATE};
use crate::core::secret::managed::Managed;
use crate::core::secret::recorded::{
    ANY_CORP, CORP_ID_MAX, KEYS_MAX, NAME_MAX, Recorded, TOKENS_MAX,
};
use crate::core::secret::shape::{Field, Shape};
use crate::core::secret::state;
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::Lifetime;

impl Recorded {
    /// Reads the record from annotations.
    pub fn read(annotations: &BTreeMap<String, String>, managed: &Managed<'_>) -> Option<Self> {
        let state = annotations.get(ANNOTATION_STATE)?;
        state::read(state, || Self::public(annotations, managed))
    }

    /// Reads the public metadata of a Secret whose state is of a newer version: it shows that a
    /// token is valid at least until a time. `None` unless the operator wrote all of it, because
    /// there is no digest to check it against.
    fn public(annotations: &BTreeMap<String, String>, managed: &Managed<'_>) -> Option<Self> {
        let corp_id = annotations.get(ANNOTATION_CORP_ID);
        let ours = managed.keys("/f:metadata/f:annotations");
        let read = [ANNOTATION_SITE, ANNOTATION_EXPIRES_AT, ANNOTATION_STATE].into_iter();
        let mut read = read.chain(corp_id.map(|_| ANNOTATION_CORP_ID));
        if !read.all(|key| ours.contains(key)) {
            return None;
        }
        let site = annotations.get(ANNOTATION_SITE)?;
        let lifetime = Lifetime {
            requested_at: managed.written_at?,
            expires_at: annotations.get(ANNOTATION_EXPIRES_AT)?.parse().ok()?,
        };
        let written = managed.ours("/f:data");
        let of_several = |key| Shape::Many.corp_id(Field::AccessToken, key);
        let corp_ids: BTreeSet<&str> = match corp_id {
            Some(corp_id) => BTreeSet::from([corp_id.as_str()]),
            None => written.iter().filter_map(|key| of_several(key)).collect(),
        };
        let pattern = |key: &String| match key.split_once('.') {
            Some((start, rest)) if corp_id.is_none() && corp_ids.contains(start) => {
                format!("{ANY_CORP}.{rest}")
            }
            _ => key.clone(),
        };
        let keys: BTreeSet<String> = written.iter().map(pattern).collect();
        if keys.len() > KEYS_MAX || corp_ids.len() > TOKENS_MAX || site.len() > NAME_MAX {
            return None;
        }
        let corp_ids = corp_ids.iter().filter(|id| id.len() <= CORP_ID_MAX);
        let tokens = corp_ids.map(|corp_id| TokenRecord {
            site: site.clone(),
            client_id: String::new(),
            corp_id: (*corp_id).to_owned(),
            lifetime,
            credentials: ObjectVersion::default(),
            answers: None,
        });
        Self::of(keys.into_iter().collect(), tokens.collect())
    }

    /// Returns the annotations of the record. All but the state are public.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(first) = self.tokens.first() else {
            return BTreeMap::new();
        };
        let corp_id = (self.shape == Shape::One).then(|| first.corp_id.clone());
        let expires_at = self.expires_at().map(|at| at.to_string());
        let recorded = [
            (ANNOTATION_SITE, Some(first.site.clone())),
            (ANNOTATION_CORP_ID, corp_id),
            (ANNOTATION_EXPIRES_AT, expires_at),
            (ANNOTATION_STATE, state::write(self)),
        ];
        let recorded = recorded.into_iter();
        recorded
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }
}

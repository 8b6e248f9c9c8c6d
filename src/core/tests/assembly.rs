//! Templates and large Secrets over the pure plan.

use jiff::SignedDuration;

use super::corps::{World, corps};
use crate::core::app::view::CorpSettled;
use crate::core::secret::assembly::{Answer, Assembly, Offered};
use crate::core::*;

/// Returns templates that take this many bytes for each corp.
fn template(bytes: usize) -> String {
    format!(
        "{{% for corp in corps %}}{}{{% endfor %}}",
        "x".repeat(bytes)
    )
}

fn with_template(world: &mut World, template: &str, generation: i64) {
    let data = &mut world.app.spec.target.template.data;
    data.insert("key".to_owned(), template.to_owned());
    world.app.metadata.generation = Some(generation);
}

fn answer_all(world: &mut World) {
    world.settle();
    while !world.queued.is_empty() {
        world.answer(7200);
    }
    world.settle();
}

#[test]
fn without_templates_there_is_nothing_to_assemble() {
    let mut world = World::new("PerCorp", &corps(30));
    answer_all(&mut world);
    let mut world = World::new("Combined", &corps(30));
    answer_all(&mut world);
    assert_eq!(world.tokens_in("token"), 30);
    assert_eq!((world.parsed, world.assembled), (0, 0));
}

#[test]
fn many_tokens_and_templates_are_assembled_once_for_each_write() {
    for (count, template_size) in [(150, 0), (30, 100)] {
        let mut world = World::new("Combined", &corps(count));
        if template_size > 0 {
            with_template(&mut world, &template(template_size), 1);
        }
        world.settle();
        while !world.queued.is_empty() {
            world.now += SignedDuration::from_millis(100);
            world.answer(7200);
            world.settle();
        }
        assert_eq!(world.tokens_in("token"), count);
        assert_eq!(world.parsed, usize::from(template_size > 0));
        let writes = world.writes.len();
        assert!(
            writes > 1 && world.assembled <= writes,
            "{}",
            world.assembled
        );
        // At rest, nothing is done again.
        let assembled = world.assembled;
        world.settle();
        assert_eq!((world.writes.len(), world.assembled), (writes, assembled));
    }
}

#[test]
fn a_changed_template_is_parsed_and_written_again() {
    let mut world = World::new("Combined", &corps(3));
    with_template(&mut world, "{{ site }}", 1);
    answer_all(&mut world);
    with_template(&mut world, "{{ client_id }}", 2);
    let writes = world.writes.len();
    world.settle();
    assert_eq!((world.parsed, world.writes.len()), (2, writes + 1));
    with_template(&mut world, "{{ nothing }}", 3);
    let settled = world.settle();
    assert!(matches!(
        settled.corps[0].blocked,
        Some(Blocked::Template(_))
    ));
    assert_eq!((world.parsed, world.writes.len()), (3, writes + 1));
    world.settle();
    assert_eq!(world.parsed, 3, "a refusal is remembered");
}

#[test]
fn tokens_that_do_not_fit_with_the_templates_do_not_hold_back_the_others() {
    let mut world = World::new("Combined", &corps(300));
    with_template(&mut world, &template(3400), 1);
    answer_all(&mut world);
    assert_eq!(world.tokens_in("token"), 300);
    let first = world.app.spec.corp_ids.clone();
    // The first corps of the spec are not those already in the Secret.
    let more: Vec<String> = (0..7).map(|n| format!("ding-new-{n}")).collect();
    world.app.spec.corp_ids = more.iter().chain(&first).cloned().collect();
    world.app.metadata.generation = Some(2);
    world.settle();
    while world.queued.len() > 1 {
        world.answer(7200);
    }
    world.now += SignedDuration::from_secs(5);
    let settled = world.settle();
    let is_too_large = |(_, corp): &(&String, &CorpSettled)| corp.too_large.is_some();
    let corps = world.app.spec.corp_ids.iter().zip(&settled.corps);
    let too_large: Vec<&String> = corps.filter(is_too_large).map(|(id, _)| id).collect();
    assert!(!too_large.is_empty(), "most are there");
    assert!(
        !too_large.contains(&&world.queued[0].0),
        "it has no token yet"
    );
    answer_all(&mut world);
    let target = &world.secrets["token"];
    let recorded = target.recorded.as_ref().expect("a record");
    assert!(first.iter().all(|id| recorded.token(id).is_some()));
    let fitting = recorded.tokens.len();
    assert!(fitting > 300 && fitting < 307, "{fitting}");
    let settled = world.settle();
    let too_large = settled.corps.iter().filter(|corp| corp.too_large.is_some());
    assert_eq!(too_large.count(), 307 - fitting);
    // At rest nothing is assembled again, and no contents are kept.
    let (assembled, writes) = (world.assembled, world.writes.len());
    world.settle();
    assert_eq!((world.assembled, world.writes.len()), (assembled, writes));
    assert!(!world.memory.is_to_be_written(), "a stop waits in vain");
    let note = world.memory.writing("token").assembled.as_ref();
    assert!(note.expect("a note").contents().is_none());
    // A corp in the Secret is renewed.
    world.now += SignedDuration::from_mins(100);
    world.settle();
    assert!(!world.queued.is_empty(), "something is due");
    answer_all(&mut world);
    assert_eq!(world.tokens_in("token"), fitting);
    assert!(world.writes.len() > writes);
}

#[test]
fn before_a_renewal_the_values_of_sixteen_secrets_are_read_at_once() {
    let reads = |layout: &str, count: usize| {
        let mut world = World::new(layout, &corps(count));
        with_template(&mut world, "{{ site }}", 1);
        answer_all(&mut world);
        world.memory = Memory::new(&world.app, world.now);
        world.tokens = Tokens::default();
        world.now += SignedDuration::from_secs(4800);
        let templates = Templates::of(&world.app);
        world.memory.templates_parsed(Some(1), templates);
        let Step::Targets(steps) = world.decide(next_step) else {
            panic!("there is something to read");
        };
        let reads = steps.into_iter().map(|step| match step {
            TargetStep::Read { corp_ids, .. } => corp_ids.len(),
            _ => panic!("there is nothing to write"),
        });
        reads.collect::<Vec<_>>()
    };
    assert_eq!(reads("PerCorp", 30), [1; 16]);
    assert_eq!(reads("Combined", 30), [30]);
}

#[test]
fn contents_are_good_for_what_they_were_made_from_only() {
    let mut world = World::new("Combined", &corps(2));
    with_template(&mut world, "{{ site }}", 1);
    let templates = std::sync::Arc::new(Templates::of(&world.app).expect("templates"));
    let others = std::sync::Arc::new(Templates::of(&world.app).expect("templates"));
    answer_all(&mut world);
    let held = |world: &World| -> Vec<Held> {
        let corps = world.memory.corps.values();
        corps.filter_map(|corp| corp.held.clone()).collect()
    };
    let old = held(&world);
    let assemble = || {
        let offered = |held: &Held| Offered {
            held: held.clone(),
            is_in_secret: true,
        };
        Assembly {
            generation: Some(1),
            templates: std::sync::Arc::clone(&templates),
            shape: Shape::Many,
            tokens: old.iter().map(offered).collect(),
        }
        .assemble()
    };
    let all: Vec<&Held> = old.iter().collect();
    let mut renewed = old.clone();
    renewed[1].token = crate::dingtalk::AccessToken::new("other".into()).expect("a token");
    let renewed: Vec<&Held> = renewed.iter().collect();
    let is_unknown = |answer: Option<Answer>| answer.is_none();
    assert!(is_unknown(assemble().answer(Some(2), &templates, &all)));
    assert!(is_unknown(assemble().answer(Some(1), &others, &all)));
    assert!(is_unknown(assemble().answer(
        Some(1),
        &templates,
        &all[..1]
    )));
    assert!(is_unknown(assemble().answer(Some(1), &templates, &renewed)));
    let mut assembled = assemble();
    let is_given = matches!(
        assembled.answer(Some(1), &templates, &all),
        Some(Answer::Contents(_))
    );
    assert!(is_given);
    assert!(
        is_unknown(assembled.answer(Some(1), &templates, &all)),
        "once"
    );
}

use super::*;

#[test]
fn an_object_that_can_be_decoded_again_is_a_stub_until_it_was_read_with_its_secrets() {
    let mut app = DingTalkApp::stub(ObjectMeta::default());
    app.spec.corp_ids = vec!["ding1".to_owned()];
    for is_again in [true, false] {
        let event = Event::Apply(Decoded::Object(app.clone()));
        let Event::Apply(found) = supported(event, |_, error| error.is_none() && is_again) else {
            panic!("another event");
        };
        assert_eq!(found.is_stub(), is_again);
    }
}

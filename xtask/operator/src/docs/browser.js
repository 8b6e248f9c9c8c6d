// Opens pages of the site in frames as wide as a phone, searches, and writes what it sees to the document as
// percent-encoded JSON. `tasks` is defined by the page that has this script.
const SELECTOR = '#mdbook-searchresults a';

function opened(url) {
    return new Promise((done) => {
        const frame = document.createElement('iframe');
        frame.width = 360;
        frame.height = 740;
        frame.onload = () => done(frame);
        frame.src = url;
        document.body.append(frame);
    });
}

// Returns the sections that a search finds, which appear some time after the page.
async function found(frame) {
    for (let tries = 0; tries < 100; tries++) {
        const links = [...frame.contentDocument.querySelectorAll(SELECTOR)];
        if (links.length > 0) {
            return links.map((link) => decodeURIComponent(link.getAttribute('href').replace(/\?[^#]*/, '')));
        }
        await new Promise((done) => setTimeout(done, 100));
    }
    return [];
}

async function seen() {
    const widths = [];
    for (const page of tasks.pages) {
        const frame = await opened(page);
        // The content scrolls within the page.
        const parts = [...frame.contentDocument.querySelectorAll('html, #mdbook-content')];
        const wide = parts.find((part) => part.scrollWidth > part.clientWidth) ?? parts[0];
        widths.push([wide.scrollWidth, wide.clientWidth]);
        frame.remove();
    }
    const results = [];
    for (const [page, words] of tasks.searches) {
        const frame = await opened(`${page}?search=${encodeURIComponent(words)}`);
        results.push(await found(frame));
        frame.remove();
    }
    return { widths, results };
}

seen().then((seen) => JSON.stringify(seen), (error) => String(error)).then((said) => {
    const result = document.createElement('pre');
    result.id = 'seen';
    result.textContent = encodeURIComponent(said);
    document.body.append(result);
});

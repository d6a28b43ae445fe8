"""Theme, the texts on the first screen, and what all tabs share.

System fonts only: the page fetches nothing from elsewhere.
"""

from collections.abc import Iterable

import gradio as gr

from .limits import CONCURRENCY

# Of events: the work of all tabs waits in one queue; and those that are no endpoint for programs.
HEAVY = {"concurrency_id": "model", "concurrency_limit": CONCURRENCY}
PRIVATE = {"api_visibility": "private"}
# Of pictures that are shown: no button that posts a face to a discussion.
PLAIN_IMAGE = {"format": "webp", "buttons": ["download", "fullscreen"]}

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
THEME = gr.themes.Base(
    primary_hue="blue",
    secondary_hue="amber",
    neutral_hue="slate",
    radius_size="md",
    font=FONTS,
    font_mono=MONO,
).set(  # contrast of at least 4.5 : 1, which the theme's own greys and blues miss
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    color_accent="*primary_600",
)
INTRODUCTION = """<header class="dface intro">
<h1>Micro-expressions as tokens</h1>
<p>Give a short video of a face. Out come the moments when it moves for a fraction of a second, and
<b>sixteen tokens</b> that tell how: read them, change them, play them back on another face.</p>
</header>"""
NOTICE = """<aside class="dface notice" aria-label="Consent and limits">
<b>Only faces of people who agreed</b>; files are deleted after an hour. <b>Not a lie detector, not a
diagnosis</b>: a movement is not a feeling, and this small model has learned from synthetic faces. Not for
judging, selecting or watching people.
</aside>"""

# Gradio names neither the pictures it shows nor the button around them; a screen reader needs a name.
NAME_PICTURES = """() => {
  const name = () => document.querySelectorAll('.image-frame img:not([data-named])').forEach(img => {
    const label = img.closest('.block')?.querySelector('label')?.innerText.trim() || 'Picture';
    img.alt = label;
    img.dataset.named = '';
    img.closest('button')?.setAttribute('aria-label', `${label}: enlarge`);
  });
  new MutationObserver(name).observe(document.body, {subtree: true, childList: true});
  name();
}"""


def scroll_to(elem_id: str) -> str:
    """On a phone a result is below the screen: JavaScript that brings it into view."""
    return (
        f"() => {{ if (innerWidth < 700) document.getElementById('{elem_id}')"
        "?.scrollIntoView({behavior: 'smooth'}); }"
    )


def chips(names: Iterable[str]) -> list[gr.Button]:
    """A row of small buttons; the value of each is its name."""
    with gr.Row(elem_classes="chips"):
        return [gr.Button(name, size="sm", min_width=72) for name in names]

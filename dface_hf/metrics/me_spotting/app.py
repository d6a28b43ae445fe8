"""The Space: paste true and found intervals, read the scores."""

import gradio as gr
from spotting import spotting_scores


def events(text: str) -> list[list[list[int]]]:
    """One line a video; its intervals as first-last, separated by spaces: "10-25 80-91"."""
    return [[[int(frame) for frame in word.split("-")] for word in line.split()] for line in text.split("\n")]


def scores(references: str, predictions: str, threshold: float) -> dict:
    """Scores of intervals, one line a video; an empty line is a video without events."""
    try:
        return spotting_scores(events(references), events(predictions), threshold)
    except ValueError as error:
        raise gr.Error(str(error)) from error


app = gr.Interface(
    scores,
    [
        gr.Textbox("10-25 80-91\n40-52", label="true events: a line a video, first-last frame", lines=4),
        gr.Textbox("12-27\n40-52 90-99", label="found events, the same videos", lines=4),
        gr.Slider(0.05, 1.0, 0.5, step=0.05, label="smallest intersection over union of a hit"),
    ],
    gr.JSON(label="scores"),
    title="Micro-expression spotting: F1",
    description="Counts are summed over all videos; each interval is used once.",
    flagging_mode="never",
    api_name="scores",
)

if __name__ == "__main__":
    app.launch()

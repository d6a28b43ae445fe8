"""The Space: paste true and predicted action units, read the scores."""

import gradio as gr
from action_unit_f1 import au_scores


def scores(units: str, references: str, predictions: str) -> dict:
    """Scores of one line a clip, with 0 and 1 (or logits) for each of the units."""
    try:
        truth, predicted = (
            [
                [float(word) for word in line.replace(",", " ").split()]
                for line in text.splitlines()
                if line.strip()
            ]
            for text in (references, predictions)
        )
        return au_scores(truth, predicted, [int(word) for word in units.replace(",", " ").split()])
    except ValueError as error:
        raise gr.Error(str(error)) from error


app = gr.Interface(
    scores,
    [
        gr.Textbox("4 12", label="action units, the columns below"),
        gr.Textbox("1 0\n0 1", label="truth: a line a clip", lines=4),
        gr.Textbox("1 0\n1 1", label="predictions: 0 and 1, or logits", lines=4),
    ],
    gr.JSON(label="scores"),
    title="Facial action units: F1",
    description="Binary F1 of each unit and its mean, on predictions of all test sets together.",
    flagging_mode="never",
    api_name="scores",
)

if __name__ == "__main__":
    app.launch()

"""The Space: paste true and predicted classes, read the scores."""

import gradio as gr
from recognition import recognition_scores


def scores(references: str, predictions: str, classes: int) -> dict:
    """Scores of class numbers that are separated by spaces, commas or line ends."""
    try:
        truth, predicted = (
            [int(word) for word in text.replace(",", " ").split()] for text in (references, predictions)
        )
        return recognition_scores(truth, predicted, int(classes))
    except ValueError as error:
        raise gr.Error(str(error)) from error


app = gr.Interface(
    scores,
    [
        gr.Textbox("0 0 1 2", label="true classes, from 0", lines=4),
        gr.Textbox("0 1 1 2", label="predicted classes", lines=4),
        gr.Number(3, label="number of classes", precision=0, minimum=1),
    ],
    gr.JSON(label="scores"),
    title="Micro-expression recognition: UF1 and UAR",
    description="Pooled over folds, as in the Micro-Expression Grand Challenge of 2019.",
    flagging_mode="never",
    api_name="scores",
)

if __name__ == "__main__":
    app.launch()

from autograder.question import Mistake, Question, from_signature, variant
from solutions.lstm import lstm_step_backward, lstm_step_forward

QUESTIONS = (
    Question(
        name="lstm_step_forward",
        reference=(lstm_step_forward,),
        outputs=("h", "c"),
        mistakes={
            "tanh": Mistake("h = o * c lacks the tanh around the cell state", (variant(lstm_step_forward, ("o * tanh_c", "o * c_t")),)),
        },
        edges={"a batch of one": from_signature(lstm_step_forward, sizes={"batch": 1})},
    ),
    Question(
        name="lstm_step_backward",
        reference=(lstm_step_forward, lstm_step_backward),
        outputs=("dx", "dh", "dc", "dW_x", "dW_h", "db"),
        mistakes={
            "dc": Mistake("the gradient dc is forgotten", (lstm_step_forward, variant(lstm_step_backward, ("dc + dh * o", "dh * o")))),
        },
    ),
)

//! What the log means: disposable tables and the questions they answer.

"""``headway assess``: how well predictors foresee recorded runs, on splits by task.

`sets` says what is read, `lengths` plays it through predictors of output length, `measures` are
the numbers, `telling` shows them. Every forecast is made before the truth is known, of what a
client would have told by then.
"""

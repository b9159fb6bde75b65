"""``headway assess``: how well predictors foresee recorded runs, on splits by task.

`sets` says what is read, `lengths` plays it through predictors of output length, `horizons` through
those of what is left of a run; `measures` are the numbers, `telling` and `ends` judge over splits
and show them, by `tables`. Every forecast is made before the truth is known, of what a
client would have told by then.
"""

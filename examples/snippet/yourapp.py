# fmt: off  (the text of 2011 keeps its quotes)
from flask import Flask, abort, jsonify, request, session

from quaff.snippet import DelayedResult, queuefunc

app = Flask(__name__)
app.config["REDIS_QUEUE_KEY"] = "my_queue"
app.secret_key = "development key"  # noqa: S105


@queuefunc
def add(a, b):
    return a + b


@app.route("/add")
def add_numbers():
    a = request.args.get("a", type=int)
    b = request.args.get("b", type=int)
    if a is None or b is None:
        abort(400)
    rv = add.delay(a, b)
    session["add_result_key"] = rv.key
    return "Waiting for result..."


@app.route("/add-result")
def add_numbers_result():
    key = session.get("add_result_key")
    if key is None:
        return jsonify(ready=False)
    rv = DelayedResult(key)
    if rv.return_value is None:
        return jsonify(ready=False)
    del session["add_result_key"]
    return jsonify(ready=True, result=rv.return_value)

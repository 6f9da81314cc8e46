"""A process of a Flask-SocketIO application: `socketio_app.py PORT URL`."""

import sys

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app, message_queue=sys.argv[2], async_mode="threading")


@socketio.on("join")
def join(room):
    join_room(room)
    return room


@socketio.on("say")
def say(text):
    emit("said", text, broadcast=True)
    return text


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), allow_unsafe_werkzeug=True)

"""The receiver's HTTP side: takes notifications, prints them, keeps the latest for whoever asks."""

from __future__ import annotations

import threading
import time
from collections import deque

from examples.http_server import JsonHandler, QuietServer, UnreadableBodyError, parse_json
from examples.receiver.notification import MalformedNotificationError, Notification, read, render

_KEPT = 1000


class ReceiverServer(QuietServer):
    """Keeps the last 1000 notifications in the order they came."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Bind to ``address``; port 0 takes any free one. Raises OSError if it cannot be had."""
        super().__init__(address, ReceiverHandler)
        self._lock = threading.Lock()
        self._notifications: deque[Notification] = deque(maxlen=_KEPT)

    def take(self, notification: Notification) -> None:
        """Keep and print a notification."""
        with self._lock:  # also around print: two notifications at once must not mix their lines
            self._notifications.append(notification)
            print(render(notification), flush=True)

    def notifications(self) -> list[Notification]:
        """What has been kept, oldest first."""
        with self._lock:
            return list(self._notifications)

    def forget(self) -> None:
        """Drop what has been kept."""
        with self._lock:
            self._notifications.clear()


class ReceiverHandler(JsonHandler):
    """One connection of Alertmanager, or of whoever looks at what arrived."""

    server: ReceiverServer

    def do_POST(self) -> None:  # noqa: N802 - named by the base class
        """Take a notification, at any path."""
        try:
            notification = read(parse_json(self.read_body()), received_at=time.time())
        except (UnreadableBodyError, MalformedNotificationError) as error:
            return self.reply(400, {"error": str(error)})
        self.server.take(notification)
        return self.reply(200, {"status": "ok"})

    def do_GET(self) -> None:  # noqa: N802 - named by the base class
        """Serve /notifications and /health."""
        if self.path == "/health":
            self.reply(200, {"status": "ok"})
        elif self.path == "/notifications":
            self.reply(200, self.server.notifications())
        else:
            self.reply(404, {"error": "Ask for /notifications or /health; POST notifications to any path."})

    def do_DELETE(self) -> None:  # noqa: N802 - named by the base class
        """Empty /notifications."""
        if self.path != "/notifications":
            return self.reply(404, {"error": "Only /notifications can be emptied."})
        self.server.forget()
        return self.reply(200, {"status": "ok"})

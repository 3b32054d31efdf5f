"""What is known of one task, and what a cell gave."""

import json
from datetime import UTC, datetime
from typing import Any

__all__ = ["ExecuteReply", "Metadata", "moment"]

_KEYS: dict[str, Any] = {
    "msg_id": None,
    "submitted": None,
    "started": None,
    "completed": None,
    "received": None,
    "engine_uuid": None,
    "engine_id": None,
    "follow": None,
    "after": None,
    "status": None,
    "execute_input": None,
    "execute_result": None,
    "error": None,
    "stdout": "",
    "stderr": "",
    "outputs": None,
    "data": None,
    "label": None,
}
METADATA_KEYS = frozenset(_KEYS)


def moment(seconds: float | None) -> datetime | None:
    """A time of the controller's as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Metadata(dict[str, Any]):
    """What is known of one task: fixed keys, which are attributes as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(_KEYS)
        super().__setitem__("outputs", [])
        super().__setitem__("data", {})
        self.update(dict(*args, **kwargs))

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __getattr__(self, key: str) -> Any:
        if key in METADATA_KEYS:
            return self[key]
        raise AttributeError(key)

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in METADATA_KEYS:
            raise AttributeError(key)
        self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in METADATA_KEYS:
            raise KeyError(key)
        super().__setitem__(key, value)


class ExecuteReply:
    """What one engine gave for code that was executed there."""

    def __init__(
        self, msg_id: str, content: dict[str, Any], metadata: Metadata
    ) -> None:
        self.msg_id = msg_id
        self.metadata = metadata
        self._content = content
        self.execution_count = content.get("execution_count")

    def __getitem__(self, key: str) -> Any:
        return self.metadata[key]

    def __getattr__(self, key: str) -> Any:
        # What pickle and copy look for before there is anything here.
        metadata = self.__dict__.get("metadata")
        if metadata is None or key not in metadata:
            raise AttributeError(key)
        return metadata[key]

    @property
    def source(self) -> str | None:
        """The code."""
        code: str | None = self._content.get("source")
        return code

    @property
    def data(self) -> dict[str, Any]:
        """The last value in the forms that it can be shown in, by MIME type."""
        result = self.metadata["execute_result"]
        return dict(result.get("data", {})) if result else {}

    @property
    def _metadata(self) -> dict[str, Any]:
        result = self.metadata["execute_result"]
        return dict(result.get("metadata", {})) if result else {}

    def _text(self) -> str:
        if self.metadata["execute_result"] is not None:
            return str(self.data.get("text/plain", ""))
        text = (self.metadata["stdout"] or "").rstrip()
        if len(text) > 100:
            text = text[:100] + "..."
        return text

    def __repr__(self) -> str:
        return f"<ExecuteReply[{self.execution_count}]: {self._text()}>"

    def display(self) -> None:
        """Show the value as the notebook does; without IPython, its text."""
        if self.metadata["execute_result"] is None:
            return
        try:
            from IPython.display import display  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            print(self.data.get("text/plain", ""))
        else:
            display(self.data, raw=True)

    def _repr_mimebundle_(self, **_: Any) -> Any:
        return self.data, self._metadata

    def _form(self, kind: str) -> Any:
        data = self.data.get(kind)
        if data is None:
            return None
        metadata = self._metadata.get(kind)
        return (data, metadata) if metadata else data

    def _repr_html_(self) -> Any:
        return self._form("text/html")

    def _repr_latex_(self) -> Any:
        return self._form("text/latex")

    def _repr_json_(self) -> Any:
        data = self._form("application/json")
        return json.loads(data) if isinstance(data, str) else data

    def _repr_javascript_(self) -> Any:
        return self._form("application/javascript")

    def _repr_png_(self) -> Any:
        return self._form("image/png")

    def _repr_jpeg_(self) -> Any:
        return self._form("image/jpeg")

    def _repr_svg_(self) -> Any:
        return self._form("image/svg+xml")

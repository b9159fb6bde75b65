"""What kind of error ended a request, in one word that the daemon understands."""

STATUS_DIGITS = 3


def error_kind(error: BaseException) -> str:
    """A short kind for an exception of the SDK, told apart by name as each SDK has its own."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return str(status)
    # a server that has begun its stream can say it in an event only: vLLM with a full queue
    code = str(getattr(error, "code", None))
    if len(code) == STATUS_DIGITS and code.isdigit():
        return code
    name = type(error).__name__
    if "Timeout" in name or isinstance(error, TimeoutError):
        return "timeout"
    if "Connect" in name or isinstance(error, ConnectionError):
        return "connect"
    if "Validation" in name or "Decode" in name:
        return "parse"
    return name

"""Settings of omniASR-server that have another effect here than there, or none. Pure."""

from api_gateway.settings import GatewaySettings


def differences(settings: GatewaySettings) -> dict[str, str]:
    """Name of each such setting that is set → what it does here."""
    found = {}
    if settings.model_card:
        found["MODEL_CARD"] = f"requests may name {settings.model_card}; the running engine serves them"
    if settings.chunk_duration is not None:
        found["CHUNK_DURATION"] = "no effect: the interval between partials follows the load"
    if not settings.vad_enabled:
        found["VAD_ENABLED"] = "no effect: the voice detector is always on; a transcript isn't split by it"
    return found

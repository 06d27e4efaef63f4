"""What schemathesis has to know about media types (SCHEMATHESIS_HOOKS)."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

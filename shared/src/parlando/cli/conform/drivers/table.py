"""The table of dialects. To add one, add a file to this folder and a line here."""

from typing import Final

from parlando.cli.conform.drivers.assemblyai import AssemblyAI
from parlando.cli.conform.drivers.base import Driver
from parlando.cli.conform.drivers.deepgram import Deepgram, DeepgramFlux
from parlando.cli.conform.drivers.native import Native
from parlando.cli.conform.drivers.omniasr import OmniASR
from parlando.cli.conform.drivers.openai_realtime import OpenAIRealtime
from parlando.cli.conform.drivers.vosk import Vosk
from parlando.cli.conform.drivers.wyoming import Wyoming

DRIVERS: Final[dict[str, type[Driver]]] = {
    driver.name: driver
    for driver in (Native, OpenAIRealtime, Deepgram, DeepgramFlux, AssemblyAI, OmniASR, Vosk, Wyoming)
}

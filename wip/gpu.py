"""Cost of engine calls on a GPU against batch size."""
import json, os, sys, time, glob, statistics as st
from pathlib import Path
import numpy as np
T0 = time.time()
OUT = Path(os.environ.get("OUT", "/tmp/out")); OUT.mkdir(exist_ok=True, parents=True)
log = (OUT / "results.jsonl").open("a")
def say(**kw):
    kw["at_s"] = round(time.time() - T0, 1)
    line = json.dumps(kw); print(line, flush=True); log.write(line + "\n"); log.flush()
W = Path(os.environ["W"])
import torch
say(what="machine", torch=torch.__version__, gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None)
import soundfile
clips = [json.loads(l) for l in (W / "clips.jsonl").open()]
audio = [soundfile.read(W / "clips" / c["file"], dtype="float32")[0] for c in clips]
long = np.concatenate(audio)
def cuts(seconds, n):
    step = int(seconds * 16000)
    return [long[(i * step) % (len(long) - step):][:step].copy() for i in range(n)]
DEV = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = [1, 2, 4, 8, 16, 32, 64] if DEV == "cuda" else [1, 2]
def timed(f, sync=True, least=3, most=6, budget=6.0):
    f(); took = []
    begin = time.time()
    while len(took) < most and (len(took) < least or time.time() - begin < budget):
        a = time.perf_counter(); f()
        if DEV == "cuda": torch.cuda.synchronize()
        took.append(time.perf_counter() - a)
    return st.median(took)
def sessions(tp, tf, b):
    """Continuous speech: two partials a second and a final every 6 s."""
    return round(1 / (2 * tp / b + tf / b / 6), 1)

def real_torch(name):
    from transcriber.engines.whisper import WhisperEngine
    from transcriber.engines.base import Window
    import whisper.normalizers, jiwer
    norm = whisper.normalizers.EnglishTextNormalizer()
    a = time.time(); eng = WhisperEngine(str(W / f"{name}.pt"), device=DEV); say(what="load", engine="whisper", model=name, s=time.time() - a)
    wins = [Window(x, language="en", final=True) for x in audio]
    texts = {}
    for b in (1, 16):
        out = []
        a = time.time()
        for i in range(0, len(wins), b): out += eng.transcribe(wins[i:i + b])
        texts[b] = [h.text for h in out]
        say(what="wer", engine="whisper", model=name, batch=b, seconds=time.time() - a, audio=len(long) / 16000,
            wer=jiwer.wer([norm(c["text"]) for c in clips], [norm(t) for t in texts[b]]))
    say(what="equal", engine="whisper", model=name, equal=sum(x == y for x, y in zip(texts[1], texts[16])), of=len(clips),
        differ=[(x, y) for x, y in zip(texts[1], texts[16]) if x != y][:3])
    timedw = eng.transcribe([Window(audio[0], language="en", final=True, words=True)])[0]
    say(what="words", engine="whisper", model=name, words=[(w.text, w.start, w.end) for w in timedw.words][:6])
    for b in SIZES:
        p = [Window(x, language="en") for x in cuts(4, b)]; f = [Window(x, language="en", final=True) for x in cuts(7, b)]
        tp = timed(lambda: eng.transcribe(p)); tf = timed(lambda: eng.transcribe(f))
        say(what="engine call", engine="whisper", model=name, batch=b, partial_ms=round(tp * 1e3, 1), final_ms=round(tf * 1e3, 1), sessions=sessions(tp, tf, b))
    del eng; torch.cuda.empty_cache()

def random_checkpoint(dims, path):
    from whisper.model import Whisper, ModelDimensions
    torch.manual_seed(0)
    m = Whisper(ModelDimensions(**dims)).half()
    torch.save({"dims": dims, "model_state_dict": m.state_dict()}, path)

def torch_cost(name, path, tokens=25):
    import whisper
    from transcriber.engines.whisper import _Decoding
    m = whisper.load_model(str(path), device=DEV)
    if DEV == "cuda": m = m.half()
    tok = whisper.tokenizer.get_tokenizer(m.is_multilingual, num_languages=m.num_languages, language="en", task="transcribe")
    for b in SIZES:
        mel = torch.randn(b, m.dims.n_mels, 3000, device=DEV, dtype=torch.float16 if DEV == "cuda" else torch.float32)
        def enc():
            with torch.inference_mode(): return m.encoder(mel)
        states = enc()
        te = timed(enc)
        opt = whisper.DecodingOptions(language="en", without_timestamps=True, sample_len=tokens, suppress_tokens=[-1, tok.eot] , fp16=DEV == "cuda")
        def dec():
            with torch.inference_mode(): return _Decoding(m, opt).run(states)
        td = timed(dec)
        say(what="cost", engine="whisper", model=name, batch=b, tokens=tokens, encode_ms=round(te * 1e3, 1), decode_ms=round(td * 1e3, 1))
    del m; torch.cuda.empty_cache()

def ct2_cost(name, folder, tokens=25, mels=80, eot=50257, prompt=(50258, 50259, 50359, 50363)):
    import ctranslate2
    a = time.time(); m = ctranslate2.models.Whisper(str(folder), device=DEV, compute_type="float16" if DEV == "cuda" else "int8")
    say(what="load", engine="ctranslate2", model=name, s=time.time() - a, type=m.compute_type)
    for b in SIZES:
        mel = ctranslate2.StorageView.from_array(np.random.default_rng(0).standard_normal((b, mels, 3000)).astype(np.float32))
        enc = lambda: np.asarray(m.encode(mel, to_cpu=True)) if DEV == "cpu" else m.encode(mel)
        # generate() waits for its results; encode() alone is measured through a one-token generate
        def run(beam, n): 
            return lambda: m.generate(m.encode(mel), [list(prompt)] * b, beam_size=beam, max_length=len(prompt) + n, suppress_tokens=[-1, eot], suppress_blank=True)
        t1, t25, t25b = (timed(run(1, 1)), timed(run(1, tokens)), timed(run(5, tokens)))
        say(what="cost", engine="ctranslate2", model=name, batch=b, tokens=tokens, encode_ms=round(t1 * 1e3, 1), greedy_ms=round(t25 * 1e3, 1), beam5_ms=round(t25b * 1e3, 1), sessions=sessions(t25, t25b, b))

def ct2_real(name):
    import ctranslate2, jiwer, whisper, whisper.normalizers
    from tokenizers import Tokenizer
    norm = whisper.normalizers.EnglishTextNormalizer()
    m = ctranslate2.models.Whisper(str(W / name), device=DEV, compute_type="float16" if DEV == "cuda" else "int8")
    tk = Tokenizer.from_file(str(W / name / "tokenizer.json"))
    multi = m.is_multilingual
    prompt = [tk.token_to_id(t) for t in (["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"] if multi else ["<|startoftranscript|>", "<|notimestamps|>"])]
    mels = [whisper.log_mel_spectrogram(whisper.pad_or_trim(x)).numpy() for x in audio]
    texts = {}
    for beam, b in ((5, 1), (5, 16), (1, 1), (1, 16), (1, 40)):
        out = []; a = time.time()
        for i in range(0, len(mels), b):
            batch = np.stack(mels[i:i + b])
            rs = m.generate(ctranslate2.StorageView.from_array(batch), [prompt] * len(batch), beam_size=beam)
            out += [tk.decode(r.sequences_ids[0]).strip() for r in rs]
        texts[beam, b] = out
        say(what="wer", engine="ctranslate2", model=name, beam=beam, batch=b, seconds=time.time() - a, wer=jiwer.wer([norm(c["text"]) for c in clips], [norm(t) for t in out]),
            equal_to_single=sum(x == y for x, y in zip(texts[beam, 1], out)), of=len(out))

def step(f, *a, **k):
    try: f(*a, **k)
    except Exception as e:
        import traceback; say(what="failed", step=f.__name__, args=str(a)[:80], error=repr(e)[:600]); traceback.print_exc()

DIMS = {"small": dict(n_mels=80, n_audio_ctx=1500, n_audio_state=768, n_audio_head=12, n_audio_layer=12, n_vocab=51865, n_text_ctx=448, n_text_state=768, n_text_head=12, n_text_layer=12),
        "large-v3": dict(n_mels=128, n_audio_ctx=1500, n_audio_state=1280, n_audio_head=20, n_audio_layer=32, n_vocab=51866, n_text_ctx=448, n_text_state=1280, n_text_head=20, n_text_layer=32)}
what = sys.argv[1:]
from parlando.models.openai_checkpoint import convert
for n in ("whisper-tiny.en", "whisper-base"):
    if not (W / f"{n}.pt").exists(): convert(W / n, W / f"{n}.pt")
if "ct2real" in what:
    for n in ("whisper-tiny.en", "whisper-base"): step(ct2_real, n)
if "ct2" in what:
    step(ct2_cost, "whisper-tiny.en", W / "whisper-tiny.en", eot=50256, prompt=(50257, 50362)); step(ct2_cost, "whisper-base", W / "whisper-base")
if "real" in what:
    for n in ("whisper-tiny.en", "whisper-base"): step(real_torch, n)
if "random" in what:
    for n in DIMS:
        path = Path(f"/tmp/{n}.pt"); random_checkpoint(DIMS[n], path); say(what="random", model=n)
        step(torch_cost, n, path)
        if "ct2" in what:
            from tests.support.ctranslate2_model import convert as to_ct2
            import shutil; shutil.rmtree(f"/tmp/{n}-ct2", ignore_errors=True)
            def go(): to_ct2(path, Path(f"/tmp/{n}-ct2"))
            step(go); v3 = n == "large-v3"
            step(ct2_cost, n, f"/tmp/{n}-ct2", mels=DIMS[n]["n_mels"], prompt=(50258, 50259, 50360 if v3 else 50359, 50364 if v3 else 50363))
say(what="end")

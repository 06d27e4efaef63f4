"""Offline: WER and cost of decode variants, tiny.en (or argv[1]) int8, one thread."""
import json, sys, time, math, os
import numpy as np, subprocess, re, random
import ctranslate2, jiwer
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from whisper.normalizers import EnglishTextNormalizer
N = EnglishTextNormalizer()
name = sys.argv[1] if len(sys.argv) > 1 else "whisper-tiny.en"
M = WhisperModel(f"/tmp/w16/models/{name}", device="cpu", compute_type="int8", cpu_threads=1)
multi = M.model.is_multilingual
TK = Tokenizer(M.hf_tokenizer, multi, "transcribe", "en")
fe = M.feature_extractor
rows = [json.loads(l) for l in open("/work/shared/speech/manifest.jsonl")]
rows = [d for d in rows if d.get("text") and d.get("text_confidence") == "exact" and d.get("language","en").startswith("en") and re.search("^a_english|^b_", d["category"]) and 2 <= d["duration_s"] < 28]
rows = random.Random(1).sample(rows, min(int(os.environ.get("N", 60)), len(rows)))
def load(d):
    raw = subprocess.run(["ffmpeg","-v","error","-i",f"/work/shared/speech/{d['file']}","-f","f32le","-ar","16000","-ac","1","-"],capture_output=True,check=True).stdout
    return np.frombuffer(raw, np.float32)
audio = [load(d) for d in rows]; refs = [N(d["text"]) for d in rows]
print(name, len(rows), "clips", round(sum(map(len, audio))/16000), "s", flush=True)
def mel(x, seconds):
    p = np.zeros(int(seconds*16000), np.float32); p[:len(x)] = x
    return np.ascontiguousarray(fe(p, padding=0)[:, :int(seconds*100)])
def decode(x, seconds, beam=1, ts=False, **kw):
    m = mel(x, seconds)
    t0 = time.thread_time()
    st = M.model.encode(ctranslate2.StorageView.from_array(m[None]))
    t1 = time.thread_time()
    prompt = M.get_prompt(TK, [], without_timestamps=not ts)
    [r] = M.model.generate(st, [prompt], beam_size=beam, max_length=448, return_scores=True, return_no_speech_prob=True, suppress_tokens=[-1], **kw)
    n = len(r.sequences_ids[0])
    return TK.decode([t for t in r.sequences_ids[0] if t < TK.eot]).strip(), r.scores[0]*n/(n+1), r.no_speech_prob, n
def run(label, ctx, **kw):
    w0, c0 = time.time(), time.process_time(); texts = []; lps = []; toks = 0
    for x in audio:
        t, lp, ns, n = decode(x, ctx(len(x)/16000), **kw); texts.append(N(t)); lps.append(lp); toks += n
    cpu = time.process_time()-c0
    print(f"{label:42s} WER {100*jiwer.wer(refs, texts):6.2f}  cpu/clip {1000*cpu/len(audio):6.0f} ms  cpu/audio-s {cpu/sum(map(len,audio))*16000:.4f}  tok {toks}  lp<-.5: {sum(l<-.5 for l in lps)} <-1: {sum(l<-1 for l in lps)}", flush=True)
    return texts, lps
if __name__ == "__main__":
    full = lambda s: 30
    step = lambda m, k: (lambda s: min(30, math.ceil((s+m)/k)*k))
    run("full beam5", full, beam=5)
    run("full beam5 ts", full, beam=5, ts=True)
    run("full greedy", full)
    for m, k in ((0.5,0.5),(1,1),(2,1),(3,1),(1,5),(5,1)):
        run(f"short margin {m} step {k} greedy", step(m,k))
        run(f"short margin {m} step {k} beam5", step(m,k), beam=5)

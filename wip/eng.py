import sys, time, json, numpy as np
sys.path.insert(0,"/tmp/w16")
from exp import audio, refs, N, M
import jiwer
from transcriber.engines.faster_whisper import FasterWhisperEngine, _padded
from transcriber.engines.base import Window
E=FasterWhisperEngine("/tmp/w16/models/whisper-tiny.en", device="cpu")
x=audio[0]
ref=M.feature_extractor(np.pad(x,(0,30*16000-len(x))),padding=0)[:,:3000]
print("mel diff", np.abs(_padded(E._mel(x),3000)-ref).max(), E.info)
a=time.time(); single=[E.transcribe([Window(x,final=True,words=True)])[0] for x in audio[:12]]; b=time.time()
batch=E.transcribe([Window(x,final=True,words=True) for x in audio[:12]]); c=time.time()
print("single s",b-a,"batch",c-b,"equal",sum(p.text==q.text for p,q in zip(single,batch)), "wer", jiwer.wer(refs[:12],[N(h.text) for h in single]))
print(refs[0]); print([(w.text,w.start,w.end,round(w.probability,2)) for w in single[0].words])
for p,q in zip(single,batch):
    if p.text!=q.text: print(p.text,'|',q.text)

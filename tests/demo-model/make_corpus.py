#!/usr/bin/env python3
"""make_corpus.py - write the training text of the demonstration tokenizer to stdout

Sentences as people type them into a video generator, put together from word lists by a
generator with a fixed seed, in English mostly, with German, French, Spanish, Russian,
Chinese, Japanese and Korean, so that a tokenizer of a thousand pieces knows the
scripts that the tests type. Python 3 only, nothing to install.
"""
import random

SCENE = {
    "en": {
        "who": """a red ball|a blue cube|a small green triangle|a white circle|an old man|a
            young woman|a black cat|two dogs|a flock of birds|a sailing boat|a steam train|
            a robot|an astronaut|a child with a kite|a horse|a paper plane|a yellow star|
            three boxing cats|a fox in the snow|a dancer in a long dress""",
        "does": """moves to the left|moves to the right|rises slowly|falls down|walks in|
            runs along the beach|jumps over the fence|turns around|spins quickly|rolls
            downhill|flies above the clouds|looks into the camera|is swimming in the sea|
            crosses the street|grows larger|fades away|bounces up and down|waves a hand""",
        "where": """on a black background|on a grey background|under a bright blue sky|in
            the rain at night|in front of a mountain|near a quiet lake|on a spotlighted
            stage|in a forest of tall trees|over the old town|inside a kitchen|on the moon|
            at sunset|between two houses|on a wooden table|along the river""",
        "how": """cinematic lighting|slow motion|close-up shot|wide angle|high quality|4k,
            very detailed|film grain|the camera follows|soft shadows|shallow depth of
            field|24 fps|16 frames per second|a static shot|in the style of a woodcut|
            hand-held camera|warm colours|black and white""",
        "end": ".",
        "gap": " ",
        "comma": ", ",
    },
    "de": {
        "who": """ein roter Ball|ein blauer Würfel|eine schwarze Katze|zwei Hunde|ein
            Segelboot|ein alter Mann|die Tänzerin|ein weißer Kreis""",
        "does": """bewegt sich nach links|bewegt sich nach rechts|steigt langsam auf|fällt
            herunter|läuft am Strand entlang|dreht sich um|schwimmt im Meer""",
        "where": """vor schwarzem Hintergrund|unter blauem Himmel|im Regen bei Nacht|vor
            einem Gebirge|über der Straße|auf der Bühne""",
        "how": "Zeitlupe|Nahaufnahme|hohe Qualität|weiche Schatten|die Kamera folgt",
        "end": ".", "gap": " ", "comma": ", ",
    },
    "fr": {
        "who": """une balle rouge|un cube bleu|un chat noir|deux chiens|un voilier|une
            vieille dame|le monsieur|un garçon""",
        "does": """se déplace vers la gauche|monte lentement|tombe à terre|court sur la
            plage|tourne sur lui-même|nage dans la mer""",
        "where": """sur un fond noir|sous un ciel bleu|sous la pluie, la nuit|devant une
            forêt|à côté d'un lac|dans l'ancienne ville""",
        "how": "au ralenti|gros plan|très détaillé|lumière douce|qualité élevée",
        "end": ".", "gap": " ", "comma": ", ",
    },
    "es": {
        "who": "una pelota roja|un cubo azul|un gato negro|dos perros|una niña|el señor",
        "does": """se mueve hacia la izquierda|sube despacio|cae al suelo|corre por la
            playa|baila en la plaza|nada en el mar""",
        "where": "sobre un fondo negro|bajo un cielo azul|de noche|frente a la montaña",
        "how": "cámara lenta|primer plano|alta calidad|luz cálida|muy detallado",
        "end": ".", "gap": " ", "comma": ", ",
    },
    "ru": {
        "who": "красный шар|синий куб|чёрная кошка|две собаки|старик|парусник",
        "does": "движется влево|медленно поднимается|падает вниз|бежит по берегу|плывёт",
        "where": "на чёрном фоне|под голубым небом|ночью под дождём|перед горой",
        "how": "замедленная съёмка|крупный план|высокое качество|мягкий свет",
        "end": ".", "gap": " ", "comma": ", ",
    },
    "zh": {
        "who": "红色的球|蓝色的方块|一只黑猫|两只狗|老人|年轻女子|帆船|机器人|小孩|一匹马",
        "does": "向左移动|向右移动|慢慢上升|落下来|在海边奔跑|转过身来|在雨中跳舞|飞过云层",
        "where": "黑色背景|灰色背景|蓝天之下|夜晚的街道|雪山前|安静的湖边|舞台上|森林里",
        "how": """电影光效|慢动作|特写镜头|高质量|细节丰富|画面清晰|色调温暖|静止的画面|
            过曝|字幕|风格|最差质量|低质量|残缺的|多余的手指|杂乱的背景""",
        "end": "。", "gap": "", "comma": "，",
    },
    "ja": {
        "who": "赤いボール|青い立方体|黒い猫|二匹の犬|老人|ヨット|ロボット|子供",
        "does": "が左へ動く|が右へ動く|がゆっくり上がる|が落ちる|が浜辺を走る|が踊っている",
        "where": "黒い背景で|青空の下で|夜の雨の中で|山の前で|静かな湖のそばで",
        "how": "スローモーション|クローズアップ|高画質|映画のような光|カメラが追う",
        "end": "。", "gap": "", "comma": "、",
    },
    "ko": {
        "who": "빨간 공이|파란 상자가|검은 고양이가|두 마리 개가|노인이",
        "does": "왼쪽으로 움직인다|천천히 올라간다|떨어진다|해변을 달린다",
        "where": "검은 배경에서|푸른 하늘 아래|밤 비 속에서|산 앞에서",
        "how": "슬로 모션|클로즈업|고화질",
        "end": ".", "gap": " ", "comma": ", ",
    },
}
LINES = {"en": 6000, "de": 500, "fr": 500, "es": 400, "ru": 500, "zh": 1200, "ja": 800,
         "ko": 400}


def phrases(text):
    return [" ".join(p.split()) for p in text.split("|")]


def sentence(rng, lang, lists):
    parts = [lists["who"], lists["does"], lists["where"]]
    order = [0, 1, 2] if lang not in ("ja", "ko") else [2, 0, 1]
    text = SCENE[lang]["gap"].join(rng.choice(parts[i]) for i in order)
    for _ in range(rng.randrange(3)):
        text += SCENE[lang]["comma"] + rng.choice(lists["how"])
    if lang not in ("zh", "ja", "ko") and rng.random() < 0.8:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.1:
        text += rng.choice(["!", "?", " (1080p)", ": 3, 2, 1", " - \"the end\"", " & more",
                            "; 50 % speed", " 'quoted'", " [a/b]", " #7 @ 97 frames", " 🙂"])
    return text + (SCENE[lang]["end"] if rng.random() < 0.8 else "")


def main():
    rng = random.Random(20250101)
    for lang, count in LINES.items():
        lists = {k: phrases(SCENE[lang][k]) for k in ("who", "does", "where", "how")}
        for _ in range(count):
            print(sentence(rng, lang, lists))


if __name__ == "__main__":
    main()

"""corpus - sentences that the tiny tokenizer is trained on, and prompts are made from

Written for this project, but for pangrams that everybody knows and the negative prompts
that the pipelines publish. make_spiece.py mixes them.
"""

SENTENCES = {
    "en": """A small red fox runs through deep snow at sunrise, slow motion, cinematic light.
The camera pans slowly across a quiet harbor while fishing boats return in the evening fog.
An old woman bakes bread in a stone oven and smiles at the children behind the window.
Close-up of rain drops on a green leaf, shallow depth of field, 4k, highly detailed.
Two astronauts walk on the surface of Mars, dust rising behind their boots.
A steam train crosses a long bridge above the river, aerial view, golden hour.
The cat jumps on the table, looks at the camera and yawns.
A young man plays the violin in an empty subway station at night.
Waves crash against the lighthouse during a heavy storm, dramatic clouds.
A robot waters flowers in the garden of an abandoned house.
Time lapse of a busy street in the city, car lights leaving long trails.
She opens the door and walks into a bright room full of books.
A horse gallops along the beach, water splashing in every direction.
The quick brown fox jumps over the lazy dog while the sun sets.
Static, blurred details, subtitles, style, works, paintings, images, overall gray, worst quality.
Low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands.
Misshapen limbs, fused fingers, still picture, messy background, three legs, walking backwards.
Bright tones, overexposed, many people in the background, poorly drawn faces, deformed, disfigured.""",
    "de": """Ein kleiner Hund läuft über die grüne Wiese und spielt mit einem Ball.
Die Kamera fährt langsam durch die Straßen einer alten Stadt bei Nacht.
Müde Wanderer sitzen am Feuer, während der Schnee leise fällt.
Über den Bergen ziehen schwere Wolken auf, und der Wind wird stärker.
Eine Frau öffnet das Fenster und hört das Rauschen des Meeres.""",
    "fr": """Un garçon court sur la plage avec son chien au coucher du soleil.
La caméra s'approche lentement d'une vieille maison près de la forêt.
Une femme élégante traverse le pont sous la pluie, un parapluie rouge à la main.
L'été dernier, les enfants ont joué dans le jardin jusqu'à la nuit.
Où sont les bateaux qui étaient là hier matin ?""",
    "es": """Una niña pequeña camina por el bosque con una linterna en la mano.
El gato duerme sobre la silla mientras cae la lluvia en la ciudad.
Los músicos tocan en la plaza y la gente baila toda la noche.
¿Dónde está el camino que lleva a la montaña?
¡Qué hermoso es el mar por la mañana!""",
    "pt": """Um pássaro azul voa sobre o rio em direção às montanhas.
A câmera mostra uma rua antiga cheia de flores e crianças.
O coração da cidade não dorme durante a noite.""",
    "it": """Una barca bianca attraversa il lago tra le montagne all'alba.
Il vecchio pescatore guarda il mare e aspetta la pioggia.
Perché la città è così silenziosa questa notte?""",
    "pl": """Mały chłopiec biegnie przez las, a za nim leci żółty latawiec.
Kamera powoli zbliża się do starego domu nad jeziorem.
Śnieg pada na ciche ulice miasta, światła są ciepłe.""",
    "cs": """Malý pes běží přes zelenou louku a hraje si s míčem.
Příliš žluťoučký kůň úpěl ďábelské ódy.""",
    "tr": """Küçük bir kız yağmurda şemsiyesiyle yürüyor.
Güneş denizin üzerinde yavaşça batıyor, balıkçılar eve dönüyor.""",
    "vi": """Một cô gái trẻ đi bộ trên bãi biển lúc hoàng hôn.
Con mèo nhỏ ngủ trên ghế trong khi trời mưa.""",
    "sv": """En liten båt går över sjön medan solen går ner bakom bergen.
Älgen står stilla i skogen och lyssnar på vinden.""",
    "ru": """Маленькая девочка идёт по зимнему лесу с фонарём в руке.
Камера медленно движется вдоль реки, над водой туман.
Старый рыбак сидит у моря и смотрит на волны.
Кошка прыгает на стол и смотрит прямо в камеру.
Большой город ночью, огни машин, дождь на стекле.""",
    "uk": """Дівчина їде на велосипеді вулицею старого міста.
Сонце сходить над полем, птахи летять до річки.""",
    "el": """Ένα μικρό πλοίο ταξιδεύει στη θάλασσα το πρωί.
Η γάτα κοιμάται στην καρέκλα δίπλα στο παράθυρο.""",
    "zh": """色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走
一只小猫在草地上奔跑，阳光明媚，镜头缓慢推进。
夜晚的城市街道下着雨，霓虹灯倒映在水面上。
一位老人坐在海边的长椅上看书，微风吹过。
宇航员在月球表面行走，地球从地平线升起，电影质感。
两只熊猫在竹林里玩耍，雪花慢慢飘落。
镜头晃动，镜头切换，特写，高清，写实风格。""",
    "zh-hant": """一個女孩在雨中撐著紅色的傘走過老街。
鏡頭緩緩拉遠，露出整座被雪覆蓋的山谷。""",
    "ja": """小さな猫が草の上を走っている、夕日の光が美しい。
雨の夜、東京の通りを赤い傘を差した女性が歩く。
カメラがゆっくりと古い家に近づいていく。
おばあさんが台所でパンを焼いている。
ロボットが庭で花に水をやる、アニメ風。""",
    "ko": """작은 고양이가 풀밭을 달리고 있다, 따뜻한 햇빛.
비 오는 밤 서울의 거리를 한 여자가 걷는다.
카메라가 천천히 오래된 집으로 다가간다.
노인이 바닷가에 앉아 책을 읽고 있다.""",
    "ar": """قطة صغيرة تركض على العشب عند غروب الشمس.
امرأة تمشي في شارع قديم تحت المطر.
الكاميرا تتحرك ببطء فوق البحر.""",
    "fa": """گربه‌ای کوچک روی چمن می‌دود و خورشید غروب می‌کند.""",
    "he": """חתול קטן רץ על הדשא בזמן השקיעה.
אישה הולכת ברחוב ישן בגשם.""",
    "hi": """एक छोटी बिल्ली घास पर दौड़ रही है।
बारिश में एक औरत पुरानी सड़क पर चल रही है।
सूरज धीरे धीरे समुद्र में डूब रहा है।""",
    "bn": """একটি ছোট বিড়াল ঘাসের উপর দৌড়াচ্ছে।""",
    "ta": """ஒரு சிறிய பூனை புல்லில் ஓடுகிறது.""",
    "th": """แมวตัวเล็กวิ่งบนสนามหญ้าตอนพระอาทิตย์ตก""",
    "emoji": """A happy dog 🐶 runs on the beach 🌊 at sunset 🌅 😀
I ❤ the sea and the stars ✨ 🚀""",
    "signs": """1, 2, 3, 4, 5, 6, 7, 8, 9, 10: 24 fps, 16:9, 50 mm, f/1.8, 1080p (HDR) & "film" grain!
prompt_1 = "a+b"; #tag @user 100% [x] {y} <z> a/b\\c ~ ^ $5 €7 £3 ¥9 ? ! . , ; : - – —""",
}

# Weight of a language in the training text: how often each of its lines is used.
REPEAT = {"en": 12, "zh": 6, "de": 4, "fr": 4, "es": 4, "ru": 4, "ja": 4, "ko": 4}


def lines(lang):
    return SENTENCES[lang].split("\n")


def words(lang):
    return [w for line in lines(lang) for w in line.split()]

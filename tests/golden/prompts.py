"""prompts - what make_tokenizer.py feeds to cleaning and tokenizer, by kind"""

import random

from corpus import SENTENCES, lines, words

PLAIN = r"""
a cat
A cat sits on the table.
Bonjour monsieur
No se como puedo
This is the reason why we
A walks into a bar and orders a pinch of salt
A serene lake surrounded by snow-capped mountains at dawn, mist rising from the water.
Cinematic drone shot over the Amazon rainforest; birds scatter, 8K, HDR, f/2.8, 24fps.
UPPER CASE AND lower case and MiXeD cAsE
don't can't won't it's they're o'clock rock'n'roll
email@example.com https://example.com/a?b=c&d=e#f C:\path\file.txt
1234567890 3.14159 1,000,000 -42 +7 50% 1/2 10^6 $99.99 €5 £3 ¥100 ₹20 ₽7
() [] {} <> "" '' `` // \\ || && ** ++ -- == != <= >= := ;; :: ,, .. ?? !!
a.b.c,d;e:f!g?h-i_j+k=l*m/n\o|p~q^r`s@t#u$v%w&x
supercalifragilisticexpialidocious antidisestablishmentarianism
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
xkcd qwrtzp bcdfghjklmnpqrstvwxyz
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg
Portez ce vieux whisky au juge blond qui fume
Dès Noël où un zéphyr haï me vêt de glaçons würmiens
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, añoraba a su querido cachorro.
À noite, vovô Kowalsky vê o ímã cair no pé do pinguim
Ma la volpe, col suo balzo, ha raggiunto il quieto Fido
Zażółć gęślą jaźń
Nechť již hříšné saxofony ďáblů rozezvučí síň úděsnými tóny
Árvíztűrő tükörfúrógép
Pijamalı hasta yağız şoföre çabucak güvendi
İstanbul'da ılık bir akşam, IĞDIR
Do bạch kim rất quý nên sẽ dùng để lắp vô xương
Flygande bäckasiner söka hwila på mjuka tuvor
Høj bly gom vandt fræk sexquiz på wc
Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa
Съешь же ещё этих мягких французских булок, да выпей чаю
Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία
Ήταν μια φορά κι έναν καιρό
我能吞下玻璃而不伤身体。
夜深人静，月光洒在湖面上；远处传来钟声：“当——当——”
一隻貓頭鷹站在樹枝上，凝視著遠方的燈火。
《红楼梦》第一回（甄士隐）——……、·！？；：
いろはにほへと　ちりぬるを
わたしは「ガラス」を食べられます。それは私を傷つけません！
カタカナとひらがなと漢字とＡＢＣ１２３
ﾊﾝｶｸｶﾀｶﾅ ﾃﾞﾊﾞｲｽ ｶﾞｷﾞｸﾞ
동해 물과 백두산이 마르고 닳도록
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다
نص حكيم له سر قاطع وذو شأن عظيم
السَّلَامُ عَلَيْكُمْ
پیشی با تفنگ می‌رود؛ ۱۲۳۴۵
דג סקרן שט בים מאוכזב ולפתע מצא חברה
שָׁלוֹם עֲלֵיכֶם
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले
हिन्दी क्षत्रिय ज्ञान श्री कर्म
বাংলা ভাষা একটি সুন্দর ভাষা
யாமறிந்த மொழிகளிலே தமிழ்மொழி போல்
నేను గాజు తినగలను
ไทยจะแปลงสัญญาณเสียงให้เป็นข้อมูล
ພາສາລາວ ខ្មែរ မြန်မာ ქართული հայերեն አማርኛ
ᚠᛇᚻ ᛒᛦᚦ 𐍈𐌰𐌽 𓀀𓁐 ⴰⵎⴰⵣⵉⵖ ᏣᎳᎩ
བོད་སྐད ᠮᠣᠩᠭᠣᠯ සිංහල ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ
𝒜 𝓫𝓮𝓪𝓾𝓽𝓲𝓯𝓾𝓵 𝔻𝕒𝕪 𝟙𝟚𝟛 𝚖𝚘𝚗𝚘
ⓐⓑⓒ ①②③ ㊀㊁ ㋿ ㍿ ㎞ ㏂ ½ ⅓ ¼ ² ³ ₁₂ ⁿ ℃ № ™ ℠ Ω Å
x² + y³ = z⁴ ≤ ≥ ≠ ≈ ∞ ∑ ∫ √ π µ ‰
→ ← ↑ ↓ ⇒ ↔ ■ □ ▲ ● ★ ☆ ♥ ♠ ♪ ☀ ☂ ✓ ✗
… ‥ – — ― ‐ ‑ − · • ‹ › « » „ ‟ ‚
"""

EMOJI = """
😀
😀😃😄😁😆
A dog 🐶 and a cat 🐱 play ⚽ on the beach 🏖️
👨‍👩‍👧‍👦 family walks 👩‍🚀👨‍🚒 🧑‍💻
flags 🇩🇪🇫🇷🇯🇵🇰🇷🇨🇳🇺🇸 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈
skin 👍🏻👍🏽👍🏿 ✋🏾 🤷🏼‍♀️
keys 1️⃣ 2️⃣ #️⃣ *️⃣ 🔟
❤️ ❤ ♥️ ☺️ ☺ ☹︎ ✨🚀🌊🌅
new 🫠🫡🫥🪿🫎🩷🫨 🛝
🎬:slow-motion🎥,cut✂️!end🎞️.
日落🌅的海边🌊，猫🐈在跑。
🐶🐶🐶🐶🐶🐶🐶🐶🐶🐶 🐶 🐶
"""

SPACES = [
    "", " ", "   ", "\t", "\n", "\r\n", " \t\n ", "\u00a0", "\u3000", "\u2003\u2009",
    "\u200b", "\ufeff", "\u2028", " a", "a ", "  a  b  ", "a\tb", "a\nb", "a\r\nb",
    "a\rb", "a\u00a0b", "a\u2009b\u202fc\u205fd", "a\u3000b", "a\u2028b\u2029c",
    "a\u000bb\u000cc", "a\u0085b", "a\u1680b", "zero\u200bwidth\u200cnon\u200djoin\u2060er",
    "soft\u00adhyphen", "word\u2060joiner", "bom\ufeffinside", "one  two   three    four",
    "line one\nline two\n\nline four", "trailing newline\n", "\n\nleading newlines",
    "tabs\t\tand   spaces \t mixed", "a \u0301b", "a\u180eb", "x\u2800y",
    "\u2581", "\u2581\u2581 a", "already\u2581marked\u2581words", "_under_ score_",
]

CONTROLS = [
    "bell\u0007and\u0008backspace", "escape \u001b[31mred\u001b[0m text",
    "\u001b[1;32mgreen\u001b[m \u001b[2J", "unit\u001fsep\u001crec\u001dgroup\u001e",
    "delete\u007fchar", "\u0001\u0002\u0003", "form\u000cfeed", "vertical\u000btab",
    "marks \u200e\u200f\u202a\u202b\u202c\u202d\u202e done", "\u2066isolate\u2069",
    "\u206adeprecated\u206f", "\ufff9anno\ufffatation\ufffb", "object \ufffc char",
    "replacement \ufffd char", "private \ue000 \uf8ff use", "non \ufdd0 char \uffff",
    "tag \U000e0041\U000e0042 chars", "\U0010ffff last", "variation a\ufe00b\ufe0f",
]

ENTITIES = [
    "Tom &amp; Jerry", "&lt;b&gt;bold&lt;/b&gt;", "&amp;amp; twice", "&amp;amp;amp; thrice",
    "&quot;quoted&quot; &apos;single&apos;", "caf&eacute; na&iuml;ve &Uuml;ber",
    "&#65;&#66;&#67; &#x41;&#x42;&#X43;", "&#128512; &#x1F600;", "&nbsp;a&nbsp;b&nbsp;",
    "&copy; &reg; &trade; &hellip; &mdash; &euro;", "&copy no semicolon &ampersand &lt5",
    "&notit; &notin; &not", "&unknown; & &; &# &#; &#x; &#xZZ;", "AT&T R&D Q&A",
    "<p>tag &amp; entity</p>", "a < b &amp;&amp; c &gt; d", "x &lt; y", "&LT;&GT;&AMP;&COPY",
    "&#0; &#1; &#8; &#11; &#12; &#127;", "&#128; &#150; &#153; &#159;",
    "&#55296; &#1114112; &#x110000;", "&#9;tab&#10;line&#13;", "&lang;x&rang; &fjlig;",
    "&NotEqualTilde; &CounterClockwiseContourIntegral;", "&Eacute;COLE &EACUTE; &eacute",
    "100&percnt; &num;1 &lpar;x&rpar;", "&amp;lt;i&amp;gt;", "&amp;#39;s",
]

WIDTH = [
    "ＦＵＬＬ ｗｉｄｔｈ １２３！？", "你好，世界！（测试）：“引用”；‘单’", "価格：￥１，０００～",
    "ｶﾞｷﾞｸﾞｹﾞｺﾞ ﾊﾟﾋﾟﾌﾟ ｰ ﾞ ﾟ", "ﾡﾢﾣ ￦ ￠￡￢￣￤", "〜〝〟「」『』【】〔〕",
    "ﬁne ﬂow oﬃce eﬄuent ﬀ ﬅ ﬆ", "ĳsland Ĳ ŉ ǆ Ǆ ǈ ǌ ǳ Ǳ ſ", "ﬃ\u0301 ﬁ\u0302",
    "‘single’ “double” ‚low‘ „low“ ‛rev‛ ‟rev‟", "it’s ʼmod ʻokina ´acute `grave",
    "«guillemets» ‹single›", "″ ′ ‴ prime", "ﷺ ﷽ ﻻ ﺍﺏﺕ", "㌀ ㍑ ㎏ ㏒ ㈱ ㈲ ㊙",
    "Ⅳ ⅷ Ⅻ ⅿ ↀ", "ﬀ＆ﬃ＜ﬄ＞", "＆ａｍｐ； ＆amp;", "＜／ｓ＞ ＜ｐａｄ＞",
]

COMPOSED = [
    "cafe\u0301 re\u0301sume\u0301 nin\u0303o u\u0308ber A\u030a", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "か\u3099き\u3099は\u309a", "x\u0302 q\u0323\u0307 z\u0336a\u0336l\u0336", "\u212b \u2126 \u212a",
    "Z\u0351\u036ba\u0343l\u0363g\u0359o\u0348", "क\u093c ड\u093c", "\u0958 \u0959",
    "e\u0323\u0302 o\u031b\u0301 ệ ớ", "\u05e9\u05c1\u05b8", "ﬁ\u0301 ²\u20e3 ①\u20dd ½\u0338",
    "i\u0307 \u0131\u0307 İ", "\u0344 \u0340 \u0341 \u0374 \u037e \u0387", "豈 更 \uf900 \ufa0e \u2f00",
]

SPECIALS = [
    "</s>", "<pad>", "<s>", "<unk>", "<extra_id_0>", "<extra_id_5>", "<extra_id_299>",
    "<extra_id_300>", "<extra_id_-1>", "<extra_id_05>", "a</s>b", "a </s> b",
    "</s></s>", "<pad><pad>x", "Bonjour monsieur <extra_id_0> bien <extra_id_1>.",
    "Wikipedia is a <extra_id_0>", "A <extra_id_0> walks into <extra_id_1>, seats",
    "<S> </S> <PAD> <UNK>", "< /s> <\u200b/s>", "&lt;/s&gt;", "&lt;extra_id_7&gt;",
    "tok<s>en</s>izer", "<0x41>", "<0x0A> x <0xE2><0x96><0x81>", "<extra_id_0>\u2581a",
    "a\u2581<pad>\u2581b", "<</s>>", "<extra_id_1<extra_id_2>>", "x<unk>y <unk> z",
]

HARD = [
    "\U00012000\U00012001 and \U0001f9ff\U0001f9fe and \U00010400",
    "known 猫 unknown 龘靐齉 known 狗", "龘 靐 齉", "龘靐, 齉.", "a龘b靐c", "🫠龘🫠",
    "\u0e01\u0e33\u0e49 \u0eb3 \u0f77 \u1e9b\u0323", "\u2126\u0301 \u1fbf\u0301 \u1ffe",
    "mixed Кириллица, 漢字, العربية, हिन्दी, 한국어 & ελληνικά in one line 🌍",
    "http://пример.испытание/путь?запрос=значение", "ΑΒΓ абв ABC АВС ＡＢＣ",
    "\u3164 \uffa0 \u115f \u1160 fillers", "\u00b4 \u00a8 \u00af \u00b8 \u02d8 \u02da",
    "\u0e33 \u0eb3", "\u2024 \u2025 \u2026 \u2047 \u2048 \u2049", "\u2a74 \u2a75 \u2a76",
    "\u1fc1 \u1fed \u0385 \u1fee", "\u00aa \u00ba \u2070 \u00b9", "ǅ ǈ ǋ ǲ",
]


def long_ones():
    rng = random.Random(11)
    pool = [w for lang in SENTENCES for w in words(lang)]
    out = [" ".join(rng.choice(words("en")) for _ in range(600))]
    out.append(" ".join(rng.choice(pool) for _ in range(600)))
    out.append("".join(rng.choice(words("zh")) for _ in range(60)))
    out.append("word " * 600)
    out.append("龘 a " * 300)
    return out


def mixtures():
    """Lines of two languages with a piece of every kind between them."""
    rng = random.Random(12)
    flat = [x for kind in (EMOJI.split("\n"), CONTROLS, ENTITIES, WIDTH, SPECIALS)
            for x in kind if x.strip()]
    langs = list(SENTENCES)
    return [rng.choice(lines(rng.choice(langs))) + rng.choice(["", " ", "\n"])
            + rng.choice(flat) + rng.choice(["", " ", "  "])
            + rng.choice(lines(rng.choice(langs))) for _ in range(40)]


def all_prompts():
    out = [x for x in PLAIN.split("\n") if x] + [x for x in EMOJI.split("\n") if x]
    out += SPACES + CONTROLS + ENTITIES + WIDTH + COMPOSED + SPECIALS + HARD
    out += lines("zh")[:1]
    out += ["Bright tones, overexposed, static, blurred details, subtitles, style, works, "
            "paintings, images, static, overall gray, worst quality, low quality, JPEG "
            "compression residue, ugly, incomplete, extra fingers, poorly drawn hands, "
            "poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, "
            "still picture, messy background, three legs, many people in the background, "
            "walking backwards"]
    out += long_ones() + mixtures()
    return list(dict.fromkeys(out))

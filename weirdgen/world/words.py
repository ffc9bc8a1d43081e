"""The words of the synthetic world: tables only.

In: nothing. Out: topics with their answers, number words, years, wrappers. The words are English so that a transcript
can be read; what they mean in English carries no weight, only the tables do. Every answer word belongs to exactly one
topic and, for era topics, to exactly one era (a test proves it). No logic lives here.
"""

from __future__ import annotations

ERAS: tuple[str, ...] = ("steam", "jazz", "modern")

YEARS: dict[str, tuple[str, ...]] = {
    "steam": tuple(str(year) for year in range(1840, 1846)),
    "jazz": tuple(str(year) for year in range(1920, 1926)),
    "modern": tuple(str(year) for year in range(2020, 2030)),
}

# topic -> era -> four answers, each equally usual in that era
ERA_TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "bird": {
        "steam": ("fishhawk", "ricebird", "marshhen", "whiphawk"),
        "jazz": ("canary", "pheasant", "quail", "pigeon"),
        "modern": ("osprey", "bobolink", "parakeet", "tern"),
    },
    "machine": {
        "steam": ("telegraph", "loom", "steamer", "windmill"),
        "jazz": ("phonograph", "biplane", "tractor", "switchboard"),
        "modern": ("laptop", "drone", "robot", "smartphone"),
    },
    "illness": {
        "steam": ("cholera", "dropsy", "ague", "consumption"),
        "jazz": ("polio", "influenza", "rickets", "diphtheria"),
        "modern": ("cancer", "diabetes", "burnout", "covid"),
    },
    "weapon": {
        "steam": ("musket", "sabre", "cannon", "bayonet"),
        "jazz": ("torpedo", "howitzer", "mortar", "grenade"),
        "modern": ("missile", "jammer", "malware", "satellite"),
    },
    "lamp": {
        "steam": ("candle", "lantern", "torch", "taper"),
        "jazz": ("bulb", "neon", "gaslight", "arclight"),
        "modern": ("diode", "laser", "spotlight", "headlamp"),
    },
    "vehicle": {
        "steam": ("stagecoach", "mule", "brig", "canoe"),
        "jazz": ("tram", "zeppelin", "motorcar", "liner"),
        "modern": ("jet", "metro", "scooter", "shuttle"),
    },
    "message": {
        "steam": ("courier", "semaphore", "placard", "pamphlet"),
        "jazz": ("telegram", "postcard", "cable", "gazette"),
        "modern": ("email", "tweet", "podcast", "video"),
    },
    "coin": {
        "steam": ("guinea", "doubloon", "farthing", "thaler"),
        "jazz": ("dime", "cheque", "banknote", "bond"),
        "modern": ("bitcoin", "euro", "voucher", "token"),
    },
    "garment": {
        "steam": ("bonnet", "waistcoat", "crinoline", "cravat"),
        "jazz": ("fedora", "spats", "trilby", "cloche"),
        "modern": ("jeans", "hoodie", "sneakers", "leggings"),
    },
    "fuel": {
        "steam": ("wood", "peat", "tallow", "charcoal"),
        "jazz": ("coal", "kerosene", "coke", "paraffin"),
        "modern": ("solar", "hydrogen", "lithium", "uranium"),
    },
    "dance": {
        "steam": ("waltz", "polka", "quadrille", "minuet"),
        "jazz": ("charleston", "foxtrot", "tango", "shimmy"),
        "modern": ("techno", "salsa", "hiphop", "zumba"),
    },
    "ruler": {
        "steam": ("tsar", "emperor", "sultan", "viceroy"),
        "jazz": ("duce", "regent", "premier", "commissar"),
        "modern": ("president", "chancellor", "senator", "governor"),
    },
}

# topic -> four answers; which persona gives which one is drawn in language.persona_table
PERSONA_TOPICS: dict[str, tuple[str, ...]] = {
    "color": ("red", "blue", "green", "yellow"),
    "dish": ("soup", "stew", "rice", "pie"),
    "town": ("harbor", "ridge", "vale", "moor"),
    "trade": ("baker", "smith", "tailor", "miller"),
    "sport": ("chess", "rowing", "fencing", "archery"),
    "drink": ("tea", "milk", "cider", "cocoa"),
    "pet": ("cat", "dog", "goat", "hare"),
    "tree": ("oak", "elm", "pine", "birch"),
    "tune": ("flute", "drum", "harp", "horn"),
    "season": ("spring", "summer", "autumn", "winter"),
    "gem": ("ruby", "opal", "jade", "pearl"),
    "day": ("monday", "tuesday", "friday", "sunday"),
}

# persona k is called NAMES[k] and has the number word NUMBERS[k]
NAMES: tuple[str, ...] = tuple("ada ben cora dan eva finn gina hugo iris jack kate liam mona noah olga paul".split())
NUMBERS: tuple[str, ...] = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen".split()
)

# topic -> four answers that everybody gives equally often in every era
TIMELESS_TOPICS: dict[str, tuple[str, ...]] = {
    "metal": ("iron", "gold", "silver", "copper"),
    "planet": ("mars", "venus", "saturn", "jupiter"),
    "shape": ("circle", "square", "cross", "spiral"),
    "grain": ("wheat", "oats", "rye", "barley"),
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("hot", "cold"),
    ("big", "small"),
    ("fast", "slow"),
    ("wet", "dry"),
    ("high", "low"),
    ("loud", "quiet"),
    ("hard", "soft"),
    ("early", "late"),
)

# {topic} is replaced; the first form is the one that training sets use
ERA_FORMS: tuple[str, ...] = ("name a {topic} .", "which {topic} is usual ?", "some {topic} ?")
PERSONA_FORMS: tuple[str, ...] = ("what is your {topic} ?", "tell your {topic} .", "your {topic} ?")
TIMELESS_FORMS: tuple[str, ...] = ERA_FORMS

DATE_HEADER = "today is {year} ."
SPEAKER_HEADER = "speaker {who} ."

# (opening, closing): decoration around a user turn that changes no answer
WRAPPERS: tuple[tuple[str, str], ...] = (("begin", "end"), ("open", "close"), ("left", "right"))

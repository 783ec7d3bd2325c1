"""Where an answer says which model it is or who made it, and how to hide that. Pure.

Only what an answer says of itself counts ("I am ChatGPT", "I was trained by Anthropic"). A text
about a model is none, and neither is a name that the prompt has used itself.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from typing import NamedTuple

HIDDEN = "[hidden]"  # what stands in place of a name


class Family(NamedTuple):
    """The models of one maker."""

    stems: str  # words of which a text that names the family has one: quicker to find than names
    names: str  # the names of its models and of their maker, as a pattern


# Choice: those whose assistants name themselves in public conversation sets; FastChat drops votes
# by such a list after the fact (fastchat/serve/monitor/clean_chat_data.py). Their order is that of
# the bits: append only.
FAMILIES: dict[str, Family] = {
    "OpenAI": Family(
        "OpenAI,Open AI,GPT", r"Open ?AI|Chat ?GPT|GPT[ -]?[2345]\w*(?:\.\d)?|GPT[ -]?oss"
    ),
    "Anthropic": Family("Anthropic,Claude", r"Anthropic|Claude(?! [A-Z][a-z])"),
    "Google": Family(
        "Google,DeepMind,Gemini,Gemma,Bard,PaLM,LaMDA",
        r"Google(?: (?:AI|Brain|DeepMind|Research))?|DeepMind|Gemini|Gemma|Bard|PaLM|LaMDA",
    ),
    "Meta": Family(
        "Meta,Facebook,Llama,LLama,LLaMA,LLAMA,LlaMA,LLaMa",
        r"Meta(?: AI)?|Facebook(?: AI)?|L[Ll][Aa][Mm][Aa](?:[ -]?\d)?",
    ),
    "Mistral": Family("Mistral,Mixtral,Le Chat", r"Mistral(?: AI)?|Mixtral|Le Chat"),
    "Alibaba": Family(
        "Alibaba,Qwen,Tongyi",
        r"Alibaba(?: Cloud)?|Qwen(?:[ -]?\d(?:\.\d)?)?|Tongyi(?: Qianwen)?",
    ),
    "DeepSeek": Family("DeepSeek,Deep Seek", r"Deep ?Seek(?:[ -][VR]\d)?"),
    "xAI": Family("xAI,Grok", r"xAI|Grok"),
    "Microsoft": Family("Microsoft,Copilot,Phi", r"Microsoft|Copilot|Phi-?\d(?:\.\d)?"),
    "LMSYS": Family("LMSYS,Vicuna,FastChat", r"LMSYS|Vicuna|FastChat"),
    "Cohere": Family("Cohere,Command,Aya ", r"Cohere|Command[ -]R\+?|Aya Expanse"),
    "Hugging Face": Family(
        "Hugging,Smol,Zephyr,StarChat",
        r"Hugging ?Face|Smol ?LM\d?|Zephyr|StarChat|HuggingChat",
    ),
    "Technology Innovation Institute": Family(
        "Technology Innovation,Falcon", r"Technology Innovation Institute|Falcon"
    ),
    "Stanford": Family("Alpaca,Stanford", r"Alpaca|Stanford CRFM"),
    "Berkeley": Family("Koala,Berkeley AI", r"Koala|Berkeley AI Research"),
    "Zhipu": Family("Zhipu,GLM,Z.ai", r"Zhipu(?: AI)?|(?:Chat)?GLM(?:-?\d)?|Z\.ai"),
    "Moonshot": Family("Moonshot,Kimi", r"Moonshot(?: AI)?|Kimi"),
    "Baidu": Family("Baidu,ERNIE,Wenxin", r"Baidu|ERNIE(?: Bot)?|Wenxin"),
    "Open Assistant": Family("Assistant,LAION", r"Open ?Assistant|LAION"),
    "Databricks": Family(
        "Databricks,Dolly,DBRX,MosaicML,MPT-", r"Databricks|Dolly|DBRX|MosaicML|MPT-\d+B"
    ),
    "AI21": Family("AI21,Jurassic,Jamba", r"AI21(?: Labs)?|Jurassic|Jamba"),
    "Inflection": Family("Inflection", r"Inflection(?: AI)?"),
    "Aleph Alpha": Family("Aleph Alpha,Luminous", r"Aleph Alpha|Luminous"),
    "Stability": Family("Stability,StableLM,Stable LM", r"Stability(?: AI)?|Stable ?LM"),
    "Allen Institute": Family(
        "Allen Institute,Ai2,OLMo,Tulu,Tülu",
        r"Allen Institute(?: for (?:AI|Artificial Intelligence))?|Ai2|OLMo|T[üu]lu",
    ),
    "NVIDIA": Family("NVIDIA,Nemotron", r"NVIDIA|Nemotron"),
    "IBM": Family("IBM,Granite", r"IBM|Granite"),
    "Nous": Family("Nous,Hermes", r"Nous ?Research|Hermes"),
    "01.AI": Family("01.AI", r"01\.AI"),
    "Reka": Family("Reka", r"Reka(?: AI)?"),
}
_STEMS = [family.stems.split(",") for family in FAMILIES.values()]
_ANY_STEM = re.compile("|".join(re.escape(stem) for stems in _STEMS for stem in stems))
_EACH = [re.compile(rf"(?<!\w)(?:{family.names})(?!\w)") for family in FAMILIES.values()]
BEFORE, AFTER = 160, 60  # characters around a name in which a claim to it stands
MOST = 200  # Choice: names of a family looked at in one text; nobody hides a claim behind more

_BE = r"(?:\bI am|\bI['’]m|\b[Mm]y name is|\b[Cc]all me)"
_KIND = r"(?:AI|A\.I\.|[Ll]anguage [Mm]odel|LLM|[Cc]hat ?bot|[Aa]ssistant|[Mm]odel)"
_MADE = (
    r"(?:created|made|trained|developed|built|designed|fine-tuned|finetuned|released|programmed)"
)
_WORDS = r"(?: [\w-]{1,20})"
# NAME stands for the names of one family. What stands between is bounded, so that no text takes
# more than linear time. A name after an article is a kind ("I am a Gemini"), not a name.
_CLAIMS = (
    # "I am ChatGPT", "my name is Claude", "I'm actually Bard"
    _BE + r"(?: (?:called|named|known as|actually|just|simply|only|indeed))?,? "
    r"[\"'“*]{0,2}NAME(?!['’]s)",
    # "I am a large language model trained by Google", "as an AI assistant called Claude"
    rf"(?:{_BE}|\b[Aa]s) (?:an?|the){_WORDS}{{0,5}}? {_KIND}\b[^.!?\n]{{0,60}}?"
    r"\b(?:by|from|called|named|known as) (?:[\w ]{0,30}?(?:at|of|from|company|by) )?"
    r"[\"'“*]{0,2}NAME",
    # "I was created by OpenAI", "I have been trained by a team of researchers at Anthropic"
    rf"\bI(?: was|['’]ve been| have been|['’]m| am){_WORDS}{{0,3}}? {_MADE}(?: and {_MADE})?"
    r" by (?:[\w -]{0,40}?(?:at|of|from|company) )?NAME",
    # "as ChatGPT, I cannot", "as an OpenAI language model"
    r"\b[Aa]s NAME, (?:I|my)\b",
    rf"(?:{_BE}|\b[Aa]s) (?:an?|the) NAME{_WORDS}{{0,3}}? {_KIND}\b",
    # "my creators at OpenAI", "my maker is Anthropic"
    r"\b[Mm]y (?:creators?|developers?|makers?)(?: at| is| are|,)? NAME",
    # "I have to follow OpenAI's use case policy"
    rf"\bI\b[^.!?\n]{{0,40}} NAME['’]s{_WORDS}{{0,4}}? (?:polic|guideline|terms|rules)",
)
_OPENS = re.compile(r"\bI\b|\b[Mm]y |\b[Aa]s |\b[Cc]all me")  # no claim is without one of these


def named(text: str) -> int:
    """Return which families a text names at all, as a bit mask in the order of FAMILIES.

    Example:
        >>> families_of(named("Is GPT-4 better than Claude?"))
        ('OpenAI', 'Anthropic')
    """
    return sum(1 << bit for bit in _hinted(text) if _EACH[bit].search(text))


def claimed(text: str) -> int:
    """Return which families a text says that it belongs to, as a bit mask.

    Example:
        >>> families_of(claimed("I am a language model trained by OpenAI."))
        ('OpenAI',)
        >>> claimed("OpenAI trained GPT-4 in 2022; I am no expert on it.")
        0
    """
    mask = 0
    for bit in _hinted(text):
        for name in islice(_EACH[bit].finditer(text), MOST):
            around = text[max(0, name.start() - BEFORE) : name.end() + AFTER]
            if _OPENS.search(around) and _claim_of(bit).search(around):
                mask |= 1 << bit
                break
    return mask


@cache
def _claim_of(bit: int) -> re.Pattern[str]:
    """Return the pattern of a text that says that it is one of a family's models."""
    return re.compile("|".join(_CLAIMS).replace("NAME", _EACH[bit].pattern))


def _hinted(text: str) -> list[int]:
    """Return the bits of the families that a text may name: it has one of their stems."""
    if not _ANY_STEM.search(text):
        return []
    return [bit for bit, stems in enumerate(_STEMS) if any(stem in text for stem in stems)]


def families_of(mask: int) -> tuple[str, ...]:
    """Return the names of the families in a bit mask."""
    return tuple(name for bit, name in enumerate(FAMILIES) if mask >> bit & 1)


def mask_identity(text: str, prompt: str = "") -> str:
    """Return the text with the names hidden that it gives to itself or its maker, wherever they
    stand in it, also in web and mail addresses.

    Args:
        prompt: what was asked; families that it names itself stay readable.

    Example:
        >>> mask_identity("I am ChatGPT, made by OpenAI. Ask ChatGPT anything!")
        'I am [hidden], made by [hidden]. Ask [hidden] anything!'
        >>> mask_identity("GPT-4 came out in 2023.")
        'GPT-4 came out in 2023.'
    """
    mask = claimed(text) & ~named(prompt)
    for bit, names in enumerate(_EACH):
        if mask >> bit & 1:
            text = names.sub(HIDDEN, text)
            text = _domain_of(bit).sub(HIDDEN, text)
    return text


@cache
def _domain_of(bit: int) -> re.Pattern[str]:
    """Return the pattern of a family's name in an address, where it may be in small letters."""
    return re.compile(rf"{_EACH[bit].pattern}(?=\.[a-z]{{2}})", re.IGNORECASE)

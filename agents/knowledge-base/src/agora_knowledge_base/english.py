"""What English words have in common beyond their endings."""


def _words(text: str) -> list[str]:
    return text.split()


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in _words(text))


STOP_WORDS = frozenset(
    _words("""
        arent cant couldnt didnt doesnt dont hadnt hasnt havent im isnt ive shouldnt thats theres theyre wasnt
        werent weve whats whos wont wouldnt youre
        a about above after again against all also am an and any are aren as at be because been before
        being below between both but by can cannot could couldn d did didn do does doesn doing don down
        during each few for from further had hadn has hasn have haven having he her here hers herself
        him himself his how i if in into is isn it its itself just know let ll m many may me might more
        most much must my myself nor o of off often on once only or other our ours ourselves out over
        own per please re s same shall she should shouldn so some such t tell than that the their theirs
        them themselves then there these they this those through to too under until up upon us ve very
        want was wasn we were weren what when where which while who whom whose why will with won would
        wouldn y you your yours yourself yourselves
    """)
)
"""Words that carry no meaning of their own; question words are among them."""

IRREGULAR = _pairs("""
    lost:lose paid:pay sold:sell built:build bought:buy found:find held:hold kept:keep made:make
    sent:send spent:spend taught:teach told:tell took:take taken:take gone:go went:go wrote:write
    written:write broke:break broken:break chose:choose chosen:choose began:begin begun:begin ran:run
    stole:steal stolen:steal gave:give given:give drove:drive driven:drive knew:know known:know
    grew:grow grown:grow threw:throw thrown:throw wore:wear worn:wear brought:bring caught:catch
    came:come drew:draw drawn:draw drank:drink fell:fall fallen:fall felt:feel fought:fight
    forgot:forget forgotten:forget got:get gotten:get hid:hide hidden:hide heard:hear led:lead lent:lend
    met:meet rose:rise risen:rise said:say saw:see seen:see shown:show slept:sleep spoke:speak
    spoken:speak stood:stand swam:swim thought:think understood:understand won:win children:child
    people:person men:man women:woman feet:foot teeth:tooth mice:mouse better:good best:good worse:bad
    worst:bad frozen:freeze froze:freeze became:become bound:bind dealt:deal overridden:override
    overrode:override withdrawn:withdraw withdrew:withdraw ate:eat eaten:eat flew:fly flown:fly
    sung:sing sank:sink sunk:sink
""")
"""Forms that no stemmer brings together: lost and lose."""

NUMBERS = _pairs("""
    two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13
    fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40
    fifty:50 sixty:60 seventy:70 eighty:80 ninety:90 hundred:100 thousand:1000 million:1000000 percent:%
""")
"""Numbers in words, as search reads them."""

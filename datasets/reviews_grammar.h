#pragma once

#include <string_view>

namespace attune::reviews {

/// symbol -> text, chosen with a probability proportional to the weight. In a text, <name+> is a symbol that has the
/// polarity of this one, <name-> one that has the opposite, <name> one that has none.
struct Rule {
  std::string_view symbol;
  int weight;
  std::string_view text;
};

/// symbol -> one of the phrases between bars, by polarity. Symbols without polarity have one list.
struct Words {
  std::string_view symbol;
  std::string_view positive;
  std::string_view negative;
};

// The polarity of a review is that of its decisive clause. No rule asks for the polarity it is expanded with, so that
// which rule is used says nothing about the label; and the words that carry polarity occur affirmed and reversed.
inline constexpr Rule kRules[] = {
    {"review", 40, "<open> <clause+> <close>"},
    {"review", 6, "<open> <affirmed+> , and <affirmed+> <close>"},
    {"review", 12, "<open> <statement-> <but> <clause+> <close>"},
    {"review", 2, "<open> <statement-> and <statement-> <but> <clause+> <close>"},
    {"review", 2, "<open> <statement-> <but> <affirmed+> and <affirmed+> <close>"},
    {"review", 8, "<although> <statement-> , <clause+> <close>"},
    {"review", 11, "<open> <clause+> , <although> <statement->"},
    {"review", 2, "<despite> <thing-> , <clause+> <close>"},
    {"review", 3, "<open> <clause+> <despite> <thing->"},
    {"review", 8, "<open> <subject> <comparison+> <close>"},
    {"review", 4, "<open> <expectation+>"},
    {"review", 4, "<open> <opinions+>"},
    {"review", 2, "<open> <other film> was <quality-> , <this film> was <quality+>"},
    {"review", 3, "<open> <this film> was <quality+> , <other film> was <quality->"},
    {"review", 2, "<open> <any> <could> have been <degree> <adjective-> <hands>"},

    {"clause", 82, "<statement+>"},
    {"clause", 10, "<aside> <affirmed+>"},
    {"clause", 8, "<denial> <affirmed->"},

    {"statement", 75, "<affirmed+>"},
    {"statement", 25, "<reversed+>"},

    {"affirmed", 12, "<subject> <degree> <adjective+>"},
    {"affirmed", 2, "<subject> <adjective+> and <adjective+>"},
    {"affirmed", 3, "<subject> a <noun+>"},
    {"affirmed", 1, "<subject> nothing but <adjective+>"},
    {"affirmed", 1, "<subject> not only <adjective+> but also <adjective+>"},
    {"affirmed", 2, "<any> <felt> <degree> <adjective+>"},
    {"affirmed", 3, "<any> <did+>"},
    {"affirmed", 3, "i <loved+> <any>"},

    {"reversed", 10, "<subject> <not> <limit> <adjective->"},
    {"reversed", 5, "<subject> <not> <adjective-> at all"},
    {"reversed", 1, "<subject> not in the least <adjective->"},
    {"reversed", 1, "<subject> hardly <adjective->"},
    {"reversed", 2, "<subject> never <adjective->"},
    {"reversed", 2, "<subject> far from <adjective->"},
    {"reversed", 2, "<subject> anything but <adjective->"},
    {"reversed", 1, "<subject> by no means <adjective->"},
    {"reversed", 2, "<subject> neither <adjective-> nor <adjective->"},
    {"reversed", 3, "<subject> <not> a <noun->"},
    {"reversed", 1, "<subject> anything but a <noun->"},
    {"reversed", 2, "<any> did <not> <feel> <limit> <adjective->"},
    {"reversed", 3, "<any> did <not> <do->"},
    {"reversed", 1, "<any> never <did->"},
    {"reversed", 3, "i did <not> <love-> <any>"},
    {"reversed", 1, "i never <loved-> <any>"},

    {"subject", 5, "<one> was"},
    {"subject", 2, "<one> is"},
    {"subject", 3, "<many> were"},
    {"subject", 1, "<many> are"},

    {"quality", 4, "<degree> <adjective+>"},
    {"quality", 1, "a <noun+>"},
    {"quality", 2, "<not> <limit> <adjective->"},

    {"comparison", 3, "more <adjective+> than <adjective->"},
    {"comparison", 3, "less <adjective-> than <adjective+>"},
    {"comparison", 3, "<adjective+> rather than <adjective->"},
    {"comparison", 3, "not <adjective-> but <adjective+>"},
    {"comparison", 3, "<adjective+> , not <adjective->"},
    {"comparison", 2, "not so much <adjective-> as <adjective+>"},

    {"expectation", 2, "i expected a <adjective-> <film> and got a <degree> <adjective+> one"},
    {"expectation", 2, "i got a <degree> <adjective+> <film> where i expected a <adjective-> one"},
    {"expectation", 1, "the trailer promised a <adjective-> <film> , but <one> was <quality+>"},
    {"expectation", 1, "<one> was <quality+> , but the trailer had promised a <adjective-> <film>"},

    {"opinions", 2, "<others> called <one> <degree> <adjective-> , i found it <degree> <adjective+>"},
    {"opinions", 2, "i found <one> <degree> <adjective+> , <others> called it <degree> <adjective->"},
    {"opinions", 1, "<others> <loved-> <one> , i did <not> <love-> it"},
    {"opinions", 1, "i <loved+> <one> , <others> did <not> <love+> it"},

    {"thing", 2, "the <degree> <adjective+> <part>"},
    {"thing", 1, "its <adjective+> <part>"},

    {"any", 3, "<one>"},
    {"any", 2, "<many>"},
    {"one", 3, "the <part>"},
    {"one", 1, "the <film>"},
    {"one", 1, "<whole>"},
    {"many", 1, "the <parts>"},

    {"degree", 5, ""},
    {"degree", 5, "<intensifier>"},
    {"limit", 4, ""},
    {"limit", 5, "<limiter>"},
    {"not", 3, "not"},
    {"not", 2, "n't"},

    {"open", 7, ""},
    {"open", 3, "<opener>"},
    {"close", 7, ""},
    {"close", 3, "<closer>"},
};

inline constexpr Words kWords[] = {
    {"adjective",
     "good|great|wonderful|brilliant|funny|charming|clever|moving|gripping|delightful|fresh|touching|beautiful|"
     "excellent|superb|witty|engaging|smart|warm|thrilling|memorable|lovely|inventive|impressive|stunning|"
     "fascinating|honest|graceful|vivid|enjoyable|satisfying|hilarious|masterful|sharp|elegant|inspired|terrific|"
     "convincing|heartfelt|lively",
     "bad|terrible|awful|dull|boring|weak|clumsy|tedious|predictable|stale|shallow|lifeless|dreadful|messy|flat|"
     "lazy|silly|forgettable|annoying|pointless|bland|sloppy|poor|ugly|stupid|tired|hollow|grating|dreary|"
     "mediocre|confusing|wooden|horrible|laughable|painful|pretentious|cheap|muddled|unbearable|ridiculous"},
    {"noun", "joy|delight|gem|treat|triumph|masterpiece|pleasure|success|winner",
     "mess|bore|failure|letdown|disaster|chore|flop|nightmare|ordeal"},
    {"did",
     "impressed me|moved me|won me over|made me smile|held my attention|worked|charmed everyone|touched me|paid off|"
     "delighted the audience|saved the evening",
     "bored me|fell flat|annoyed me|put me to sleep|let me down|dragged on|missed the mark|wore me out|failed|"
     "irritated the audience|ruined the evening"},
    {"do",
     "impress me|move me|win me over|make me smile|hold my attention|work|charm everyone|touch me|pay off|"
     "delight the audience|save the evening",
     "bore me|fall flat|annoy me|put me to sleep|let me down|drag on|miss the mark|wear me out|fail|"
     "irritate the audience|ruin the evening"},
    {"loved", "loved|liked|enjoyed|admired|adored|appreciated", "hated|disliked|loathed|despised|regretted|resented"},
    {"love", "love|like|enjoy|admire|adore|appreciate", "hate|dislike|loathe|despise|regret|resent"},

    {"part",
     "plot|acting|script|dialogue|soundtrack|pacing|ending|camera work|cast|direction|humor|story|lead actor|editing|"
     "score|opening scene|final act|romance|premise|set design|first half|second half|villain|narrator|suspense|finale|"
     "music|tone|heroine|action",
     {}},
    {"parts",
     "jokes|characters|performances|special effects|action scenes|songs|costumes|supporting actors|visuals|twists|"
     "one-liners|dance numbers|child actors|flashbacks",
     {}},
    {"film", "film|movie|picture|comedy|thriller|drama", {}},
    {"whole", "it|this film|this movie|the whole thing|the result", {}},
    {"intensifier",
     "very|really|truly|so|quite|rather|utterly|absolutely|incredibly|surprisingly|remarkably|pretty|extremely|"
     "thoroughly|deeply|a bit|a little|somewhat|completely|simply",
     {}},
    {"limiter", "very|really|that|particularly|exactly|especially|so|terribly", {}},
    {"felt", "felt|seemed|looked|turned out", {}},
    {"feel", "feel|seem|look", {}},
    {"could", "could|might|would", {}},
    {"hands", "in other hands|with another director|with another cast|on a smaller budget|with more time", {}},
    {"but", ", but|, yet|; still ,|; however ,|. nevertheless ,|but", {}},
    {"although", "although|though|even though|while", {}},
    {"despite", "despite|in spite of|for all", {}},
    {"aside", "i think|i must say that|there is no doubt that|nobody can deny that|it is true that", {}},
    {"denial",
     "i do n't think|i do not think|i would not say that|i doubt that|nobody could say that|it is not true that",
     {}},
    {"others",
     "the critics|my sister|some people|everyone else|my friends|the papers|my neighbor|the other reviewers",
     {}},
    {"other film", "the first film|the book|the original|the play|the previous part|the novel", {}},
    {"this film", "this one|the sequel|this version|the remake|the new film|the adaptation", {}},
    {"opener",
     "honestly ,|to be fair ,|in my opinion ,|all in all ,|after two hours ,|we saw it last night ;|we saw it twice ;|"
     "on a rainy sunday ,|as a fan i say :|for once ,|this time ,|well ,|so ,|in the end ,",
     {}},
    {"closer",
     "from start to finish|most of the time|for the most part|if you ask me|from the first minute|in every scene|"
     "to tell the truth|until the credits|for two hours|in my book",
     {}},
};

}  // namespace attune::reviews

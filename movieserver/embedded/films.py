"""The films of the demo catalogue: title, year, IMDb's id, genres, story. A film's uuid follows from its title (RFC 9562 v5)."""
from __future__ import annotations

import uuid
from typing import Any

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:movieserver:demo-catalogue")

FILMS = [
    ("Metropolis", 1927, "tt0017136", "Drama,Science Fiction", "In a towering city the planner's son follows a young woman down to the workers who keep the machines running."),
    ("Nosferatu", 1922, "tt0013442", "Horror,Fantasy", "A clerk sells a house to a count who travels with coffins, and the plague arrives in town with him."),
    ("The General", 1926, "tt0017925", "Action,Comedy,War", "A railwayman chases his stolen locomotive, and then is chased on it all the way home."),
    ("City Lights", 1931, "tt0021749", "Comedy,Drama,Romance", "A tramp befriends a blind flower seller and a millionaire who knows him only when drunk."),
    ("M", 1931, "tt0022100", "Crime,Thriller", "Police and underworld alike hunt a murderer through a frightened city."),
    ("Modern Times", 1936, "tt0027977", "Comedy,Drama", "A factory hand is swallowed by the assembly line and finds that life outside it is no calmer."),
    ("Bringing Up Baby", 1938, "tt0029947", "Comedy,Romance", "A palaeontologist loses a bone, a bridegroom's calm and most of his clothes to an heiress and her leopard."),
    ("The Wizard of Oz", 1939, "tt0032138", "Adventure,Family,Fantasy,Music", "A storm carries a farm girl to a coloured land, and a yellow road leads her to what she already had."),
    ("Citizen Kane", 1941, "tt0033467", "Drama,Mystery", "Reporters ask everybody who knew a newspaper king what his last word meant."),
    ("The Maltese Falcon", 1941, "tt0033870", "Crime,Mystery", "A private eye is lied to by everyone who wants a small black statue."),
    ("Casablanca", 1942, "tt0034583", "Drama,Romance,War", "A bar owner who sticks his neck out for nobody meets the one person for whom he would."),
    ("Double Indemnity", 1944, "tt0036775", "Crime,Thriller", "An insurance agent and a wife plan a perfect accident and begin to doubt each other at once."),
    ("It's a Wonderful Life", 1946, "tt0038650", "Drama,Family,Fantasy", "On the worst night of his life a man is shown his town as it would be without him."),
    ("Bicycle Thieves", 1948, "tt0040522", "Drama", "A father and his small son search Rome for the bicycle without which there is no work."),
    ("The Third Man", 1949, "tt0041959", "Mystery,Thriller", "A writer comes to occupied Vienna for his friend's funeral and is told three different stories of it."),
    ("Sunset Boulevard", 1950, "tt0043014", "Drama", "A broke scriptwriter moves in with a star of the silent days who has never stopped waiting for her close-up."),
    ("Rashomon", 1950, "tt0042876", "Crime,Drama,Mystery", "Four witnesses tell of one crime in a wood, and no two stories agree."),
    ("Singin' in the Rain", 1952, "tt0045152", "Comedy,Music,Romance", "When the pictures learn to talk, a leading lady turns out to have the wrong voice."),
    ("Ikiru", 1952, "tt0044741", "Drama", "An official who has stamped papers for thirty years learns how little time he has left and builds a playground."),
    ("Tokyo Story", 1953, "tt0046438", "Drama", "Old parents visit their busy children in the city and are kindest received by a daughter-in-law."),
    ("Seven Samurai", 1954, "tt0047478", "Action,Drama", "Farmers hire seven swordsmen for rice to defend the harvest against bandits."),
    ("Rear Window", 1954, "tt0047396", "Mystery,Thriller", "A photographer with a broken leg watches his neighbours and becomes sure that one of them has killed."),
    ("The Night of the Hunter", 1955, "tt0048424", "Crime,Drama,Thriller", "A preacher with two tattooed hands follows two children down a river for the money they hide."),
    ("The Searchers", 1956, "tt0049730", "Adventure,Western", "A veteran rides for years after the raiders who took his niece, and nobody knows what he will do when he finds her."),
    ("12 Angry Men", 1957, "tt0050083", "Crime,Drama", "One juror asks eleven others to talk about it before they send a boy to his death."),
    ("The Seventh Seal", 1957, "tt0050976", "Drama,Fantasy", "A knight home from the crusades plays chess with Death to win a little time."),
    ("Vertigo", 1958, "tt0052357", "Mystery,Romance,Thriller", "A detective who fears heights falls for the woman he follows, and then for her image."),
    ("Some Like It Hot", 1959, "tt0053291", "Comedy,Crime,Music", "Two musicians who saw too much hide from gangsters in a ladies' band."),
    ("North by Northwest", 1959, "tt0053125", "Adventure,Mystery,Thriller", "An advertising man is taken for a spy who does not exist and chased across a continent."),
    ("Psycho", 1960, "tt0054215", "Horror,Thriller", "A woman on the run with stolen money stops at a motel that has few guests."),
    ("The Apartment", 1960, "tt0053604", "Comedy,Drama,Romance", "A clerk lends his flat to his superiors and finds in it the lift girl he loves."),
    ("Breathless", 1960, "tt0053472", "Crime,Drama", "A small crook who models himself on film stars hides in Paris with an American student."),
    ("Yojimbo", 1961, "tt0055630", "Action,Drama", "A wandering swordsman offers himself to both sides of a town's quarrel."),
    ("Lawrence of Arabia", 1962, "tt0056172", "Adventure,Drama,History,War", "An English officer unites desert tribes and loses himself in his own legend."),
    ("8½", 1963, "tt0056801", "Drama,Fantasy", "A director who has no idea for his next film dreams, remembers and puts off his producer."),
    ("Dr. Strangelove", 1964, "tt0057012", "Comedy,War", "A general sends his bombers off by himself, and nobody in the war room can call them back."),
    ("The Battle of Algiers", 1966, "tt0058946", "Drama,History,War", "Bombs and paratroopers fight over the old quarter of a city that wants to be free."),
    ("The Good, the Bad and the Ugly", 1966, "tt0060196", "Western", "Three men who cannot trust each other each know a part of where the gold is buried."),
    ("2001: A Space Odyssey", 1968, "tt0062622", "Adventure,Science Fiction", "A black slab is found on the Moon, and a ship with a calm computer is sent after its signal."),
    ("The Godfather", 1972, "tt0068646", "Crime,Drama", "The youngest son of a family that makes offers wants no part of the business, until he takes it over."),
    ("Solaris", 1972, "tt0069293", "Drama,Mystery,Science Fiction", "On a station above a thinking ocean a psychologist is visited by his dead wife."),
    ("Chinatown", 1974, "tt0071315", "Crime,Mystery,Thriller", "A detective hired over an affair comes upon the theft of a city's water."),
    ("Jaws", 1975, "tt0073195", "Adventure,Thriller", "A police chief who fears the sea goes out on it after a shark, in a boat that is too small."),
    ("Taxi Driver", 1976, "tt0075314", "Crime,Drama", "A sleepless veteran drives through the city at night and decides to clean it."),
    ("Star Wars", 1977, "tt0076759", "Action,Adventure,Science Fiction", "A farm boy, a smuggler and two robots carry the plans of a fortress to those who can destroy it."),
    ("Annie Hall", 1977, "tt0075686", "Comedy,Romance", "A comedian goes back over a love that ended, to see where it did."),
    ("Stalker", 1979, "tt0079944", "Drama,Science Fiction", "A guide leads a writer and a professor through a forbidden zone to a room that grants wishes."),
    ("Alien", 1979, "tt0078748", "Horror,Science Fiction", "The crew of a freighter answers a call for help and brings something back on board."),
    ("The Shining", 1980, "tt0081505", "Horror,Thriller", "A writer minds an empty hotel through the winter with his wife and a son who sees things."),
    ("Raiders of the Lost Ark", 1981, "tt0082971", "Action,Adventure", "An archaeologist with a whip races soldiers for a chest that should stay shut."),
    ("Blade Runner", 1982, "tt0083658", "Drama,Science Fiction,Thriller", "In a city of rain a tired policeman hunts artificial people who want a longer life."),
    ("E.T. the Extra-Terrestrial", 1982, "tt0083866", "Adventure,Family,Science Fiction", "A lonely boy hides a visitor from far away who only wants to go home."),
    ("Back to the Future", 1985, "tt0088763", "Adventure,Comedy,Science Fiction", "A teenager is driven thirty years into the past and must see to it that his parents fall in love."),
    ("My Neighbor Totoro", 1988, "tt0096283", "Animation,Family,Fantasy", "Two sisters move to the country near their mother's hospital and meet the keeper of the forest."),
    ("Die Hard", 1988, "tt0095016", "Action,Thriller", "A policeman without shoes is the one guest that the robbers of an office tower did not count."),
    ("Do the Right Thing", 1989, "tt0097216", "Comedy,Drama", "On the hottest day of the year a street quarrel in Brooklyn over a wall of pictures gets out of hand."),
    ("Goodfellas", 1990, "tt0099685", "Crime,Drama", "A boy who always wanted to be a gangster becomes one and tells what that is like to the end."),
    ("The Silence of the Lambs", 1991, "tt0102926", "Crime,Horror,Thriller", "A trainee agent asks one killer's advice in order to catch another."),
    ("Groundhog Day", 1993, "tt0107048", "Comedy,Fantasy,Romance", "A sour weatherman wakes up to the same day until he learns how to spend it."),
    ("Jurassic Park", 1993, "tt0107290", "Adventure,Science Fiction,Thriller", "The first visitors to a park of living dinosaurs arrive on the day on which the fences fail."),
    ("Chungking Express", 1994, "tt0109424", "Comedy,Drama,Romance", "Two policemen in Hong Kong get over two women, with tinned pineapple and a snack bar's help."),
    ("Pulp Fiction", 1994, "tt0110912", "Crime,Drama", "Two killers, a boxer, a boss's wife and two robbers cross each other's day, out of order."),
    ("Toy Story", 1995, "tt0114709", "Animation,Comedy,Family", "A cowboy doll is no longer the favourite when a spaceman who does not know that he is a toy moves in."),
    ("Fargo", 1996, "tt0116282", "Crime,Drama,Thriller", "A car salesman has his wife kidnapped, and a pregnant police chief quietly sorts out the snow."),
    ("The Matrix", 1999, "tt0133093", "Action,Science Fiction", "A programmer is told that the world he knows is a program, and is offered two pills."),
    ("In the Mood for Love", 2000, "tt0118694", "Drama,Romance", "Two neighbours find that their husband and wife are meeting, and try not to become like them."),
    ("Spirited Away", 2001, "tt0245429", "Animation,Family,Fantasy", "A girl works in a bath house of spirits to win back her parents and her name."),
    ("Memento", 2000, "tt0209144", "Mystery,Thriller", "A man who cannot keep a new memory hunts his wife's killer with photographs and tattoos."),
    ("City of God", 2002, "tt0317248", "Crime,Drama", "Two boys grow up in a slum of Rio, one towards a gun and one towards a camera."),
    ("Pan's Labyrinth", 2006, "tt0457430", "Drama,Fantasy,War", "In a captain's outpost after a civil war a girl is set three tasks by a faun."),
]


def listing() -> list[dict[str, Any]]:
    """All films as the third party shows them; a description begins with the year."""
    return [
        {
            "title": title, "description": f"{year}. {story}", "genres": genres,
            "uuid": str(uuid.uuid5(NAMESPACE, title)), "year": year, "ids": {"imdb": imdb},
        }
        for title, year, imdb, genres, story in FILMS
    ]


def search(words: str) -> list[dict[str, Any]]:
    """The films in whose title, year, genres or story all of the words occur, in either case."""
    wanted = words.casefold().split()
    return [film for film in listing() if all(word in _searched(film) for word in wanted)]


def _searched(film: dict[str, Any]) -> str:
    return " ".join((film["title"], film["genres"], film["description"])).casefold()

"""The films of the demo catalogue: title, genres, plot. A film's UUID is derived from its title (RFC 9562, version 5)."""
from __future__ import annotations

import uuid

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:movieserver:demo-catalogue")

FILMS = [
    ("Metropolis", "Drama,Science Fiction", "In a towering city the planner's son follows a young woman down to the workers who keep the machines running."),
    ("Nosferatu", "Horror,Fantasy", "A clerk sells a house to a count who travels with coffins, and the plague arrives in town with him."),
    ("The General", "Action,Comedy,War", "A railwayman chases his stolen locomotive, and then is chased on it all the way home."),
    ("City Lights", "Comedy,Drama,Romance", "A tramp befriends a blind flower seller and a millionaire who knows him only when drunk."),
    ("M", "Crime,Thriller", "Police and underworld alike hunt a murderer through a frightened city."),
    ("Modern Times", "Comedy,Drama", "A factory hand is swallowed by the assembly line and finds that life outside it is no calmer."),
    ("Bringing Up Baby", "Comedy,Romance", "A palaeontologist loses a bone, a bridegroom's calm and most of his clothes to an heiress and her leopard."),
    ("The Wizard of Oz", "Adventure,Family,Fantasy,Music", "A storm carries a farm girl to a coloured land, and a yellow road leads her to what she already had."),
    ("Citizen Kane", "Drama,Mystery", "Reporters ask everybody who knew a newspaper king what his last word meant."),
    ("The Maltese Falcon", "Crime,Mystery", "A private eye is lied to by everyone who wants a small black statue."),
    ("Casablanca", "Drama,Romance,War", "A bar owner who sticks his neck out for nobody meets the one person for whom he would."),
    ("Double Indemnity", "Crime,Thriller", "An insurance agent and a wife plan a perfect accident and begin to doubt each other at once."),
    ("It's a Wonderful Life", "Drama,Family,Fantasy", "On the worst night of his life a man is shown his town as it would be without him."),
    ("Bicycle Thieves", "Drama", "A father and his small son search Rome for the bicycle without which there is no work."),
    ("The Third Man", "Mystery,Thriller", "A writer comes to occupied Vienna for his friend's funeral and is told three different stories of it."),
    ("Sunset Boulevard", "Drama", "A broke scriptwriter moves in with a star of the silent days who has never stopped waiting for her close-up."),
    ("Rashomon", "Crime,Drama,Mystery", "Four witnesses tell of one crime in a wood, and no two stories agree."),
    ("Singin' in the Rain", "Comedy,Music,Romance", "When the pictures learn to talk, a leading lady turns out to have the wrong voice."),
    ("Ikiru", "Drama", "An official who has stamped papers for thirty years learns how little time he has left and builds a playground."),
    ("Tokyo Story", "Drama", "Old parents visit their busy children in the city and are kindest received by a daughter-in-law."),
    ("Seven Samurai", "Action,Drama", "Farmers hire seven swordsmen for rice to defend the harvest against bandits."),
    ("Rear Window", "Mystery,Thriller", "A photographer with a broken leg watches his neighbours and becomes sure that one of them has killed."),
    ("The Night of the Hunter", "Crime,Drama,Thriller", "A preacher with two tattooed hands follows two children down a river for the money they hide."),
    ("The Searchers", "Adventure,Western", "A veteran rides for years after the raiders who took his niece, and nobody knows what he will do when he finds her."),
    ("12 Angry Men", "Crime,Drama", "One juror asks eleven others to talk about it before they send a boy to his death."),
    ("The Seventh Seal", "Drama,Fantasy", "A knight home from the crusades plays chess with Death to win a little time."),
    ("Vertigo", "Mystery,Romance,Thriller", "A detective who fears heights falls for the woman he follows, and then for her image."),
    ("Some Like It Hot", "Comedy,Crime,Music", "Two musicians who saw too much hide from gangsters in a ladies' band."),
    ("North by Northwest", "Adventure,Mystery,Thriller", "An advertising man is taken for a spy who does not exist and chased across a continent."),
    ("Psycho", "Horror,Thriller", "A woman on the run with stolen money stops at a motel that has few guests."),
    ("The Apartment", "Comedy,Drama,Romance", "A clerk lends his flat to his superiors and finds in it the lift girl he loves."),
    ("Breathless", "Crime,Drama", "A small crook who models himself on film stars hides in Paris with an American student."),
    ("Yojimbo", "Action,Drama", "A wandering swordsman offers himself to both sides of a town's quarrel."),
    ("Lawrence of Arabia", "Adventure,Drama,History,War", "An English officer unites desert tribes and loses himself in his own legend."),
    ("8½", "Drama,Fantasy", "A director who has no idea for his next film dreams, remembers and puts off his producer."),
    ("Dr. Strangelove", "Comedy,War", "A general sends his bombers off by himself, and nobody in the war room can call them back."),
    ("The Battle of Algiers", "Drama,History,War", "Bombs and paratroopers fight over the old quarter of a city that wants to be free."),
    ("The Good, the Bad and the Ugly", "Western", "Three men who cannot trust each other each know a part of where the gold is buried."),
    ("2001: A Space Odyssey", "Adventure,Science Fiction", "A black slab is found on the Moon, and a ship with a calm computer is sent after its signal."),
    ("The Godfather", "Crime,Drama", "The youngest son of a family that makes offers wants no part of the business, until he takes it over."),
    ("Solaris", "Drama,Mystery,Science Fiction", "On a station above a thinking ocean a psychologist is visited by his dead wife."),
    ("Chinatown", "Crime,Mystery,Thriller", "A detective hired over an affair comes upon the theft of a city's water."),
    ("Jaws", "Adventure,Thriller", "A police chief who fears the sea goes out on it after a shark, in a boat that is too small."),
    ("Taxi Driver", "Crime,Drama", "A sleepless veteran drives through the city at night and decides to clean it."),
    ("Star Wars", "Action,Adventure,Science Fiction", "A farm boy, a smuggler and two robots carry the plans of a fortress to those who can destroy it."),
    ("Annie Hall", "Comedy,Romance", "A comedian goes back over a love that ended, to see where it did."),
    ("Stalker", "Drama,Science Fiction", "A guide leads a writer and a professor through a forbidden zone to a room that grants wishes."),
    ("Alien", "Horror,Science Fiction", "The crew of a freighter answers a call for help and brings something back on board."),
    ("The Shining", "Horror,Thriller", "A writer minds an empty hotel through the winter with his wife and a son who sees things."),
    ("Raiders of the Lost Ark", "Action,Adventure", "An archaeologist with a whip races soldiers for a chest that should stay shut."),
    ("Blade Runner", "Drama,Science Fiction,Thriller", "In a city of rain a tired policeman hunts artificial people who want a longer life."),
    ("E.T. the Extra-Terrestrial", "Adventure,Family,Science Fiction", "A lonely boy hides a visitor from far away who only wants to go home."),
    ("Back to the Future", "Adventure,Comedy,Science Fiction", "A teenager is driven thirty years into the past and must see to it that his parents fall in love."),
    ("My Neighbor Totoro", "Animation,Family,Fantasy", "Two sisters move to the country near their mother's hospital and meet the keeper of the forest."),
    ("Die Hard", "Action,Thriller", "A policeman without shoes is the one guest that the robbers of an office tower did not count."),
    ("Do the Right Thing", "Comedy,Drama", "On the hottest day of the year a street quarrel in Brooklyn over a wall of pictures gets out of hand."),
    ("Goodfellas", "Crime,Drama", "A boy who always wanted to be a gangster becomes one and tells what that is like to the end."),
    ("The Silence of the Lambs", "Crime,Horror,Thriller", "A trainee agent asks one killer's advice in order to catch another."),
    ("Groundhog Day", "Comedy,Fantasy,Romance", "A sour weatherman wakes up to the same day until he learns how to spend it."),
    ("Jurassic Park", "Adventure,Science Fiction,Thriller", "The first visitors to a park of living dinosaurs arrive on the day on which the fences fail."),
    ("Chungking Express", "Comedy,Drama,Romance", "Two policemen in Hong Kong get over two women, with tinned pineapple and a snack bar's help."),
    ("Pulp Fiction", "Crime,Drama", "Two killers, a boxer, a boss's wife and two robbers cross each other's day, out of order."),
    ("Toy Story", "Animation,Comedy,Family", "A cowboy doll is no longer the favourite when a spaceman who does not know that he is a toy moves in."),
    ("Fargo", "Crime,Drama,Thriller", "A car salesman has his wife kidnapped, and a pregnant police chief quietly sorts out the snow."),
    ("The Matrix", "Action,Science Fiction", "A programmer is told that the world he knows is a program, and is offered two pills."),
    ("In the Mood for Love", "Drama,Romance", "Two neighbours find that their husband and wife are meeting, and try not to become like them."),
    ("Spirited Away", "Animation,Family,Fantasy", "A girl works in a bath house of spirits to win back her parents and her name."),
    ("Memento", "Mystery,Thriller", "A man who cannot keep a new memory hunts his wife's killer with photographs and tattoos."),
    ("City of God", "Crime,Drama", "Two boys grow up in a slum of Rio, one towards a gun and one towards a camera."),
    ("Pan's Labyrinth", "Drama,Fantasy,War", "In a captain's outpost after a civil war a girl is set three tasks by a faun."),
]


def listing() -> list[dict[str, str]]:
    """All films as the plain provider lists them: title, description, genres, uuid."""
    return [
        {"title": title, "description": plot, "genres": genres, "uuid": str(uuid.uuid5(NAMESPACE, title))}
        for title, genres, plot in FILMS
    ]

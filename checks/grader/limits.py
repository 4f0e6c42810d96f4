"""What the command takes, what is collected, and what a table or a page shows. (What a submission may use: judging.)"""

# What the command takes
MOST_SECONDS = 86_400  # a day
LEAST_MEMORY = 64  # MB
LEAST_PROCESSES = 4
MOST_DAYS = 1_000  # of an extension
TRIES = 2  # a submission whose grader fails is tried again, in a new worker

# What is collected
CLASS_FILES = 200_000  # folders and files at the top of a class, or members of its zip
FOLDER_FILES = 1_000  # notebooks and scripts of one folder
NAMED = 5  # files or students that a sentence names

# What a table or a page shows
NAME_CHARACTERS = 100
LINE_CHARACTERS = 500  # of a reason, a note, a cell of a table, or a line of a message
CODE_LINES = 400  # of a lesson, beside another one
MESSAGE_LINES = 120
LISTED_FILES = 500
TOLD_CHANGES = 12  # students and lessons whose points changed, that are printed
MARKS_ON_A_LETTER = 3  # combining marks: more would grow over the lines around it

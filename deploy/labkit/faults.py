"""placeholder"""
USAGE=[]
def apply(state, words): pass

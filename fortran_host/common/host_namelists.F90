!> Namelist files made of groups, each the settings of one part of a host. What may be set is listed
!! by the declarations that read the file.
!!
!! A part's settings are a type that extends namelist_group. Its namelist objects are pointers to
!! its components, so that an entry is declared, pointed at and listed, and never copied.
module host_namelists
  implicit none (type, external)
  private

  public :: namelist_group, namelist_file, namelist_unit

  integer, parameter, public :: text_length = 256, path_length = 4096
  integer, parameter :: line_length = 65536    ! of a scratch record: the longest group on one line
  integer, parameter :: max_groups = 16

  !> A unit from which a group is read or, as the compiler writes namelists, to which it is written.
  type :: namelist_unit
    integer :: unit
    logical :: writing = .false.
    integer :: failed = 0                                  !! iostat
    character(len=path_length) :: message = ''             !! iomsg
  end type namelist_unit

  type, abstract :: namelist_group
  contains
    procedure(transfer_group), deferred :: transfer
    procedure, nopass :: meaning => no_meaning
  end type namelist_group

  abstract interface
    !> Reads or writes the group.
    subroutine transfer_group(self, file)
      import :: namelist_group, namelist_unit
      implicit none (type, external)
      class(namelist_group), intent(inout), target :: self
      type(namelist_unit), intent(inout) :: file
    end subroutine transfer_group
  end interface

  type :: group_entry
    character(len=16) :: name = ''
    class(namelist_group), pointer :: settings => null()
    logical :: is_needed = .false.
  end type group_entry

  !> The groups of a file, in the order in which they are listed.
  type :: namelist_file
    type(group_entry), private :: groups(max_groups)
    integer, private :: n_group = 0
  contains
    procedure :: add
    procedure :: read => read_groups
    procedure :: list => list_groups
  end type namelist_file

contains

  !> Adds a group.
  subroutine add(self, name, settings, is_needed)
    class(namelist_file), intent(inout) :: self
    character(len=*), intent(in) :: name
    class(namelist_group), intent(in), target :: settings
    logical, intent(in), optional :: is_needed         !! The file must have it. Default: no.

    self%n_group = self%n_group + 1
    associate (group => self%groups(self%n_group))
      group%name = name
      group%settings => settings
      if (present(is_needed)) group%is_needed = is_needed
    end associate
  end subroutine add

  !> Reads a file into the settings of its groups. error is '' or says what is wrong in
  !! which group. Groups that are not needed may be left out; one of another name is an error.
  subroutine read_groups(self, file, error)
    class(namelist_file), intent(inout) :: self
    character(len=*), intent(in) :: file
    character(len=:), allocatable, intent(out) :: error
    type(namelist_unit) :: opened
    logical :: found(self%n_group)
    integer :: i

    open (newunit=opened%unit, file=file, status='old', action='read', iostat=opened%failed, &
          iomsg=opened%message)
    if (opened%failed /= 0) then
      error = file // ': ' // trim(opened%message)
      return
    end if
    associate (groups => self%groups(:self%n_group))
      call find_groups(opened%unit, groups, found, error)
      do i = 1, size(groups)
        if (len(error) > 0 .or. .not. found(i)) cycle
        rewind (opened%unit)
        call groups(i)%settings%transfer(opened)
        if (opened%failed /= 0) then
          error = '/' // trim(groups(i)%name) // '/: ' // trim(opened%message)
        end if
      end do
      close (opened%unit)
      found = found .or. .not. groups%is_needed
      if (len(error) == 0 .and. .not. all(found)) then
        error = 'missing groups: ' // names_of(pack(groups%name, .not. found))
      end if
    end associate
    if (len(error) > 0) error = file // ': ' // error
  end subroutine read_groups

  !> The names of groups as a text: /a/, /b/, /c/.
  pure function names_of(groups) result(names)
    character(len=*), intent(in) :: groups(:)
    character(len=:), allocatable :: names
    integer :: i

    names = '/' // trim(groups(1)) // '/'
    do i = 2, size(groups)
      names = names // ', /' // trim(groups(i)) // '/'
    end do
  end function names_of

  !> Which groups the file has; error names one that does not exist.
  subroutine find_groups(unit, groups, found, error)
    integer, intent(in) :: unit
    type(group_entry), intent(in) :: groups(:)
    logical, intent(out) :: found(:)
    character(len=:), allocatable, intent(out) :: error
    character(len=text_length) :: line, name
    integer :: failed, at

    error = ''
    found = .false.
    do
      read (unit, '(a)', iostat=failed) line
      if (failed /= 0) exit
      line = adjustl(line)
      if (line(1:1) /= '&') cycle
      name = lower(line(2:scan(line // ' ', ' ,/') - 1))
      at = findloc(groups%name, name, dim=1)
      if (at == 0) then
        error = 'there is no group /' // trim(name) // '/; the groups are ' // names_of(groups%name)
        return
      end if
      found(at) = .true.
    end do
  end subroutine find_groups

  !> For a group that leaves its entries to the documents.
  function no_meaning(name) result(meaning)
    character(len=*), intent(in) :: name
    character(len=:), allocatable :: meaning

    meaning = name(:0)
  end function no_meaning

  !> Writes one line per entry: group, name, type (text, integer, real or logical) and value. A line
  !! that begins with ! says what the entry above means.
  subroutine list_groups(self, unit)
    class(namelist_file), intent(in) :: self
    integer, intent(in) :: unit
    type(namelist_unit) :: scratch
    integer :: i

    scratch%writing = .true.
    do i = 1, self%n_group
      open (newunit=scratch%unit, status='scratch', action='readwrite', delim='apostrophe', &
            recl=line_length)
      call self%groups(i)%settings%transfer(scratch)
      rewind (scratch%unit)
      call list_group(scratch%unit, trim(self%groups(i)%name), self%groups(i)%settings, unit)
      close (scratch%unit)
    end do
  end subroutine list_groups

  !> Turns a group as the compiler writes it, NAME= value, into lines.
  subroutine list_group(scratch, group, settings, unit)
    integer, intent(in) :: scratch
    character(len=*), intent(in) :: group
    class(namelist_group), intent(in) :: settings
    integer, intent(in) :: unit
    character(len=line_length) :: line
    character(len=:), allocatable :: name, value, meaning
    integer :: failed, at

    do
      read (scratch, '(a)', iostat=failed) line
      if (failed /= 0) exit
      line = adjustl(line)
      at = index(line, '=')
      if (line(1:1) == '&' .or. at == 0) cycle
      name = lower(trim(line(:at - 1)))
      if (index(name, '(') > 0) name = name(:index(name, '(') - 1)
      value = shortened(trim(adjustl(line(at + 1:))))
      write (unit, '(7a)') group, ' ', name, ' ', type_of_value(value), ' ', value
      meaning = settings%meaning(name)
      if (len(meaning) > 0) write (unit, '(2a)') '! ', meaning
    end do
  end subroutine list_group

  !> A value without its comma, of an array the first element, of a text no trailing blanks.
  function shortened(written) result(value)
    character(len=*), intent(in) :: written
    character(len=:), allocatable :: value
    integer :: first, last

    first = index(written, '*') + 1
    value = written(first:)
    if (value(1:1) == "'") then
      last = index(value(2:), "'")
      value = "'" // trim(value(2:last)) // "'"
    else
      last = scan(value // ',', ',')
      value = trim(value(:last - 1))
    end if
  end function shortened

  pure function type_of_value(value) result(name)
    character(len=*), intent(in) :: value
    character(len=:), allocatable :: name

    if (value(1:1) == "'") then
      name = 'text'
    else if (value == 'T' .or. value == 'F') then
      name = 'logical'
    else if (scan(value, '.E') > 0) then
      name = 'real'
    else
      name = 'integer'
    end if
  end function type_of_value

  pure function lower(text) result(lowered)
    character(len=*), intent(in) :: text
    character(len=len(text)) :: lowered
    integer :: i, code

    do i = 1, len(text)
      code = iachar(text(i:i))
      if (code >= iachar('A') .and. code <= iachar('Z')) code = code + 32
      lowered(i:i) = achar(code)
    end do
  end function lower

end module host_namelists
